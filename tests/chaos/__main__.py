"""`make chaos`: attacks an installation of its own for a time, and judges the topics afterwards.

Exit code 0 means that nothing was lost, doubled or otherwise wrong; the evidence is removed. Exit code 1 means that
something is wrong; the evidence is kept, and the output names its folder.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import structlog

from processors.core.records.errors import HalterError
from tests.chaos.experiment import Experiment, Options
from tests.chaos.faults import FAULTS, ONE_BROKER, THREE_BROKERS, possible
from tests.chaos.table import table


def kinds(text: str, brokers: int, parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """Parse `kill,zombie` or `all` or `all,only-broker-kill`."""
    chosen: list[str] = []
    for kind in text.split(","):
        if kind == "all":
            chosen += possible(brokers)
        elif kind in FAULTS:
            chosen.append(kind)
        else:
            parser.error(f"--faults: expected all, or some of {', '.join(FAULTS)}, found {kind!r}")
    for kind in chosen:
        if kind == "upgrade":
            parser.error("--faults: upgrade strikes by itself with --upgrade-from")
        if kind in (ONE_BROKER if brokers == 3 else THREE_BROKERS):
            parser.error(f"--faults: {kind} needs {'one broker' if kind in ONE_BROKER else 'three brokers'}")
    return tuple(chosen)


def main() -> None:
    """Parse the options, run, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=None, help="strike for so long (default: 120)")
    parser.add_argument("--count", type=int, default=None, help="strike so many times instead")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, which is printed")
    parser.add_argument("--faults", default="all", help=f"all, or some of {', '.join(FAULTS)}")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=3)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=25.0, help="steps of the load per second")
    parser.add_argument("--members", choices=("static", "dynamic", "mixed"), default="mixed")
    parser.add_argument("--kip848", action="store_true", help="the group protocol of KIP-848")
    parser.add_argument("--session", type=float, default=4.0, help="session time-out in s, classic protocol")
    parser.add_argument(
        "--view", action="store_true", help="keep a view and a console beside them, and compare in the end"
    )
    parser.add_argument("--tracing", action="store_true", help="let workers make spans, and count them by their names")
    parser.add_argument("--store", choices=("memory", "rocksdb"), default="memory", help="rocksdb: --members static")
    parser.add_argument(
        "--upgrade-from", type=Path, default=None, help="a folder with the code of a release: workers begin as its"
    )
    parser.add_argument("--release", default="0.1.0", help="which release that is")
    parser.add_argument("--evidence", type=Path, default=None, help="keep the evidence here, whatever comes of it")
    given = parser.parse_args()
    if given.store != "memory" and given.members != "static":
        parser.error(f"--store {given.store}: expected --members static, because files need slots that stay")
    if given.upgrade_from is not None and given.count is None:
        parser.error("--upgrade-from: expected --count, over which the steps of the upgrade are spread")
    options = Options(
        seed=random.randrange(1_000_000) if given.seed is None else given.seed,
        seconds=given.seconds if given.count is not None or given.seconds is not None else 120.0,
        faults=given.count,
        kinds=kinds(given.faults, given.brokers, parser),
        brokers=given.brokers,
        partitions=given.partitions,
        workers=given.workers,
        rate=given.rate,
        members=given.members,
        kip848=given.kip848,
        session_s=given.session,
        store=given.store,
        view=given.view and given.upgrade_from is None,
        tracing=given.tracing,
        upgrade_from=given.upgrade_from,
        release=given.release,
    )
    folder = given.evidence or Path(tempfile.mkdtemp(prefix="halter-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "harness.log").open("w") as log:
        # The logs of client and task worker of the load are evidence, and not the output of the run.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
        run(options, folder, keep=given.evidence is not None)


def run(options: Options, folder: Path, *, keep: bool) -> None:
    """Attack, judge, and print."""
    try:
        report = Experiment(options, folder, say).run()
    except HalterError as error:
        sys.exit(f"halter: {error}; the evidence is in {folder}")
    text = table(report)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    say(text)
    if not report.verdict.ok:
        sys.exit(f"halter: something is wrong; the evidence is in {folder}")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
