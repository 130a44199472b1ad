"""Makes a picture of a turn: the share of each phase, how far the threads overlap, how large turns are, at three loads.

    python -m bench.turns [--partitions 8] [--rates 100 1000] [--seconds 8] [--former FOLDER] [--json] [--write]

A real worker process folds interrupts that are posted at these rates, and then as many as are there at once.
`bench/timed_worker.py` notes in it when a thread goes from one phase to the next. Notes cost about 1 µs each, some 40 a
turn. A thread that is in a phase may wait there: for the broker, for the processor or for Python's lock. So the
processor time of the threads is given as well.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import core_is_compiled, in_words, percentile, shown
from bench.house import TICKS_PER_SECOND, AtOnce, FormerHouse, House, cpu_seconds
from bench.latency import Latency
from bench.page import circumstances_in_words, write
from bench.wf_specs import wf_run_id
from halter.broker import EmbeddedBroker
from processors.core.records.commands import ExternalEvent
from processors.core.records.errors import HalterError

LAUNCHER = Path(__file__).with_name("timed_worker.py")
WF_RUNS = 20_000
AT_ONCE = 20_000
WARM_UP_SECONDS = 3.0
IDLE = "idle"
PHASES = (
    IDLE,
    "poll",
    "decode",
    "to the agents and back",
    "fold",
    "rows, positions",
    "breath",
    "begin",
    "produce",
    "flush",
    "offsets",
    "commit",
    "before and after a commit",
    "between the phases",
)
OVERLAPS = ("Kafka thread alone", "event loop alone", "both", "neither: on the way between them", "idle")
LOOP, KAFKA, CLIENT, OTHERS = "event loop", "Kafka thread", "threads of the client", "other threads"


class Timed(House):
    """An installation whose worker notes its phases."""

    @property
    def times(self) -> Path:
        """The file with the notes, once the worker has ended."""
        return self.folder / "times.json"

    @contextmanager
    def running(self, slot: str = "bench-0", ceiling: bool = False) -> Iterator[int]:
        """Run a worker that is ready, and yield its process id."""
        assert not ceiling
        with self.process(slot, str(LAUNCHER), str(self.times), "worker", "--slot", slot) as process:
            yield process.pid


class TimedFormer(Timed, FormerHouse):
    """The same for another checkout."""


@dataclass
class Load:
    """One load, and what was seen from outside while it lasted."""

    name: str
    begin: float
    end: float
    cpu: Mapping[int, tuple[str, float]]
    """Native thread -> its name and the seconds of processor time that it used."""
    broker_cpu: float
    took: Sequence[float] = ()
    """Latencies in milliseconds; none at full load, where all records are there at once."""


@dataclass
class Picture:
    """What the threads did during a load."""

    seconds: float
    phases: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    overlaps: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    turns: int = 0
    folded: float = 0
    shards: float = 0
    written: float = 0
    partitions: float = 0


def picture(load: Load, notes: Mapping[str, Any]) -> Picture:
    """Return what the threads did during a load, from the notes of the worker."""
    found, loop = Picture(load.end - load.begin), notes["loop"]
    now: dict[int, str | None] = {}
    last = load.begin
    for at, thread, phase in sorted(notes["switches"], key=lambda switch: float(switch[0])):
        if load.begin < at:
            passed = min(at, load.end) - last
            for present in now.values():
                if present is not None:
                    found.phases[present] += passed
            found.overlaps[overlap(now, loop)] += passed
            last = at
            if at > load.end:
                break
        now[thread] = phase
    for thread, (name, seconds) in load.cpu.items():
        kind = LOOP if thread == loop else KAFKA if thread in now else CLIENT if name.startswith("rdk") else OTHERS
        found.cpu[kind] += seconds
    during = [(what, sizes) for at, what, sizes in notes["turns"] if load.begin < at <= load.end]
    folded = [sizes[0] for what, sizes in during if what == "folded"]
    written = [sizes for what, sizes in during if what == "written"]
    found.turns, found.folded = len(folded), sum(folded) / max(1, len(folded))
    found.shards, found.written, found.partitions = (
        sum(sizes[number] for sizes in written) / max(1, len(written)) for number in range(3)
    )
    return found


def overlap(now: Mapping[int, str | None], loop: int) -> str:
    """Return which of the two threads is in a phase."""
    kafka = [phase for thread, phase in now.items() if thread != loop and phase is not None]
    if now.get(loop) is not None:
        return OVERLAPS[2] if set(kafka) - {IDLE} else OVERLAPS[1]
    if not kafka:
        return OVERLAPS[3]
    return OVERLAPS[0] if set(kafka) - {IDLE} else OVERLAPS[4]


def cpu_of_threads(pid: int) -> dict[int, tuple[str, float]]:
    """Return the name of each thread of a process, and the seconds of processor time that it has used."""
    found = {}
    for place in Path(f"/proc/{pid}/task").iterdir():
        name, _, rest = (place / "stat").read_text(encoding="utf-8").partition("(")[2].rpartition(")")
        numbers = rest.split()
        found[int(place.name)] = name, (int(numbers[11]) + int(numbers[12])) / TICKS_PER_SECOND
    return found


class Measuring:
    """Puts loads on a worker, one after the other."""

    def __init__(self, house: House, kafka: EmbeddedBroker, pid: int) -> None:
        self._house, self._kafka, self._pid = house, kafka, pid
        self._bench = Latency(house)
        self.loads: list[Load] = []

    @contextmanager
    def load(self, name: str) -> Iterator[None]:
        """Take a block for a load."""
        brokers = [pid for pid in self._kafka.pids if pid is not None]
        before, broker, begin = cpu_of_threads(self._pid), sum(map(cpu_seconds, brokers)), time.monotonic()
        yield
        after, end = cpu_of_threads(self._pid), time.monotonic()
        cpu = {
            thread: (thread_name, seconds - before.get(thread, ("", 0.0))[1])
            for thread, (thread_name, seconds) in after.items()
        }
        self.loads.append(Load(name, begin, end, cpu, sum(map(cpu_seconds, brokers)) - broker))

    def at(self, rate: int, seconds: float) -> None:
        """Post at a rate."""
        self._bench.at(rate, WARM_UP_SECONDS, 0)
        with self.load(f"{rate:,}/s"):
            took = self._bench.at(rate, seconds, 0)
        self.loads[-1].took = took

    def full(self) -> None:
        """Let many interrupts be there at once, and wait until all are folded."""
        with self._house.watching() as watch:
            for count, measured in ((AT_ONCE // 5, False), (AT_ONCE, True)):
                waiting = AtOnce(self._house)
                for number in range(count):
                    this = wf_run_id(number * 7_919 % WF_RUNS)
                    waiting.post("external-events", this, ExternalEvent(this, "add", f"{measured}{number:07}", 1))
                if not measured:
                    watch(waiting.show("external-events"))
                    continue
                with self.load("all at once"):
                    ended = watch(waiting.show("external-events"))
                self.loads[-1].end = ended


def measure(
    kafka: EmbeddedBroker, folder: Path, partitions: int, rates: Sequence[int], seconds: float, former: Path | None
) -> Mapping[str, tuple[Sequence[Load], Mapping[str, Any]]]:
    """Return the loads of each side, and the notes of its worker."""
    found = {}
    for side in ("former", "present"):
        place = folder / side
        place.mkdir()
        if side == "present":
            house = Timed(kafka, place, partitions)
        elif former is not None:
            house = TimedFormer(kafka, place, partitions, former)
        else:
            continue
        with house.running() as pid:
            house.prepare("interrupt", WF_RUNS)
            measuring = Measuring(house, kafka, pid)
            for rate in rates:
                measuring.at(rate, seconds)
            measuring.full()
        found[side] = measuring.loads, json.loads(house.times.read_text(encoding="utf-8"))
    return found


def rows(load: Load, seen: Picture) -> dict[str, str]:
    """Return the column of a load: name of the row -> cell."""
    latency = f"{shown(percentile(load.took, 50))}, {shown(percentile(load.took, 99))}" if load.took else ""
    a_turn = 1_000 * seen.seconds / max(1, seen.turns)
    cells = {
        "latency: p50, p99 in ms": latency,
        "turns per second": shown(seen.turns / seen.seconds),
        "a turn: ms, with the time until the next": shown(a_turn),
        "a turn: records folded": shown(seen.folded),
        "a turn: shards": shown(seen.shards),
        "a turn: records written": shown(seen.written),
        "a turn: partitions written": shown(seen.partitions),
    }
    for phase in [*PHASES, *sorted(set(seen.phases) - set(PHASES))]:
        share = seen.phases[phase] / seen.seconds
        cells[f"phase: {phase}"] = f"{share:.1%}, {shown(share * a_turn)} ms a turn"
    for name in OVERLAPS:
        cells[f"threads: {name}"] = f"{seen.overlaps[name] / seen.seconds:.1%}"
    for name in (LOOP, KAFKA, CLIENT, OTHERS):
        cells[f"processor: {name}"] = f"{seen.cpu[name] / seen.seconds:.1%}"
    cells["processor: broker"] = f"{load.broker_cpu / seen.seconds:.1%}"
    return cells


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return columns as a Markdown table."""
    names = list(next(iter(columns.values())))
    lines = [["", *columns], ["---", *["--:"] * len(columns)]]
    lines += [[name, *(column.get(name, "") for column in columns.values())] for name in names]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 1_000])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--former", type=Path, help="a checkout of the former code, with an environment in its .venv")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="to docs/performance.md, too")
    given = parser.parse_args()
    former = given.former.resolve() if given.former else None
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        try:
            with EmbeddedBroker(folder / "kafka") as kafka:
                found = measure(kafka, folder, given.partitions, given.rates, given.seconds, former)
        except HalterError as error:
            sys.exit(f"turns: {error}")
    columns = {
        f"{side}, {load.name}": rows(load, picture(load, notes))
        for side, (loads, notes) in found.items()
        for load in loads
    }
    if given.json:
        print(json.dumps(columns, indent=2, ensure_ascii=False))
        return
    sentence = circumstances_in_words("python -m bench.turns", former, (time.monotonic() - begun) / 60)
    print(f"{sentence}\n\n{table(columns)}")
    if given.write:
        write("turns-compiled" if core_is_compiled() else "turns", sentence, table(columns))
    for side, (_, notes) in found.items():
        if notes["missing"]:
            print(f"\nNot found in the {side} code, so not timed: {in_words(notes['missing'])}")


if __name__ == "__main__":
    main()
