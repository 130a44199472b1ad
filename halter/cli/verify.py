"""`halter verify | check-state`: decides the recorded inputs again, or folds the log again, and compares."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from halter.cli.client import Json, Unmask, connected
from halter.cli.connection import Kafka, asks_kafka, load_settings
from halter.cli.given import filled
from halter.cli.printing import note, print_json, print_line
from halter.cli.source import File, no_such, source
from halter.cli.usage import BadOptions

if TYPE_CHECKING:
    from halter.history.explaining import Explained
    from halter.history.found import Difference, Report
    from halter.history.source import Source
    from halter.history.verify import How
    from processors.kafka.topics import Topics


@asks_kafka
def verify(
    wf_runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WF_RUN]...",
            help="Ids of WfRuns. With --file and without ids: all that the export has.",
            show_default=False,
            callback=filled,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Verify everything that the topics have.")] = False,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="PATH",
            help="Decide with another version of Halter: a checkout, an environment, or the Python of one.",
        ),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            metavar="FILE",
            help="Decide as if the WfSpec in this file had been there in place of every version of it.",
        ),
    ] = None,
    log_rules: Annotated[
        int | None,
        typer.Option(
            "--log-rules",
            metavar="N",
            min=1,
            help="Version of the rules that decided events whose records name none: 1 for 0.1.0, 2 for 0.2.0.",
        ),
    ] = None,
    show: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="How many WfRuns that differ are told in full.")
    ] = 3,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            help="With --all: partitions side by side. Default: one per processor, one for a short log.",
        ),
    ] = None,
    unmask: Unmask = False,
    as_json: Json = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Decide recorded inputs again and compare the events with the log.

    The log has every input of a partition in the order in which it was decided. With the same rules and the same
    WfSpecs the same events must come of them, byte for byte. With others you see what would have come.

    - `halter verify --all`
    - `halter verify --all --rules ../halter-next`
    - `halter verify --all --spec cart.yaml`
    - `halter verify order-41`
    - `halter verify --file incident.halter --rules ../halter-next`

    For the first WfRuns that differ, the first event that differs is shown with the states after it. What came later
    in them is not compared, because it follows from that.

    With --all, what became of correlation keys is decided again as well: who has a key, and to whom its events go.

    Each event names the version of the rules that decided it. What differs because a rule was changed since is
    expected: it is counted for itself.

    Exit codes: 0 the same, or what is expected; 1 something else differs, or an error; 2 wrong options.
    """
    from halter.files.definition_files import read_definition_file
    from halter.history.verify import How

    if everything and (wf_runs or file is not None):
        raise BadOptions(f"--all: expected no {'ids of WfRuns' if wf_runs else '--file'} beside it")
    if not everything and not wf_runs and file is None:
        raise BadOptions("expected ids of WfRuns, --all or --file, found none of them")
    if not everything and processes is not None:
        raise BadOptions("--processes: only with --all")
    if rules is not None:
        from halter.history.other_rules import interpreter_of

        interpreter_of(rules)
    changes = () if spec is None else tuple(read_definition_file(spec).commands)
    how = How(None if rules is None else rules.absolute(), changes, log_rules)
    begun = time.monotonic()
    with source(file, kafka, expecting=lambda topics: _expect_ids(wf_runs, topics.partitions)) as found:
        if everything:
            loaded = partial(load_settings, kafka)
            report = _all(found, loaded, how, processes)
        else:
            report = _some(found, _ids(found, wf_runs), how)
        seconds = time.monotonic() - begun
        shown = [*_first(report.differences, show), *_first(report.expected, show)][:show]
        told = [_explained(it, found, unmask=unmask) for it in shown]
        notes = _notes(report, found, log_rules, rules)
    if as_json:
        from halter.history.verify_text import report_data

        print_json(report_data(report, told, seconds) | {"notes": notes})
    else:
        _print(report, told, seconds, show, unmask=unmask)
        for sentence in notes:
            note(sentence)
    if report.differences or report.keys.differences:
        raise typer.Exit(1)


FEW: Final = 20_000
"""Events that are decided in this process: it takes longer to start others."""


def _all(found: "Source", loaded: Callable[[], Any], how: "How", processes: int | None) -> "Report":
    """Verify all partitions of an installation."""
    from halter.history.live import Live
    from halter.history.verify import all_verified

    assert isinstance(found, Live)
    topics, reader = found.client.topics, found.client.reader
    bounds = [reader.bounds(topics.wf_events, number) for number in range(topics.partitions)]
    total = sum(end - begin for begin, end in bounds)
    side_by_side = processes or (1 if total < FEW else os.cpu_count() or 1)
    with progress(total) as told:
        return all_verified(loaded, range(topics.partitions), how, side_by_side, told)


def _ids(found: "Source", wf_runs: list[str] | None) -> list[str]:
    """Return the ids of the WfRuns that are meant. Raises BadOptions."""
    partitions = _expect_ids(wf_runs, found.partitions)
    return [it for it in dict.fromkeys(wf_runs or found.wf_run_ids()) if it not in partitions]


def _expect_ids(wf_runs: list[str] | None, partitions: int) -> set[str]:
    """Return the keys of records about partitions. Raises BadOptions if one is given for the id of a WfRun."""
    from processors.fold.inputs import partition_key

    keys = {partition_key(number) for number in range(partitions)}
    for wf_run_id in wf_runs or ():
        if wf_run_id in keys:
            raise BadOptions(f"{wf_run_id}: expected the id of a WfRun, found a partition; --all verifies partitions")
    return keys


def _some(found: "Source", wf_run_ids: list[str], how: "How") -> "Report":
    """Verify some WfRuns."""
    from halter.history.found import Report
    from halter.history.recorded_in_source import recordings
    from halter.history.verify import verified

    report = Report()
    for recording in recordings(found, wf_run_ids, partial(no_such, found)):
        report.add(verified(recording, found.codec, how, limits=found.limits))
    return report


def _notes(report: "Report", found: "Source", log_rules: int | None, rules: Path | None) -> list[str]:
    """Return what to know about differences."""
    from halter.history.export_file import ExportFile
    from halter.history.found import DECIDED_OTHERWISE
    from processors.core.rules.versions import RULES

    notes = []
    if report.newer_rules is not None:
        than = f"those of this version ({RULES})" + ("" if rules is None else " and of --rules")
        newer = f"rules {report.newer_rules} decided some of these events, and they are newer than {than}"
        notes.append(
            f"{newer}: what they decide otherwise is not known here, so nothing of it is expected; verify with the "
            "version that decided them, or a later one"
        )
    if report.differences and isinstance(found, ExportFile) and found.is_masked:
        tokens = "this export has tokens in place of masked values, and a rule that looks at one may decide otherwise"
        notes.append(f"{tokens}: `halter export --clear` keeps the values")
    unnamed = (it.kind in DECIDED_OTHERWISE and it.rules is None for it in report.differences.values())
    if log_rules is None and any(unnamed):
        which = "the log does not say which version of the rules decided some of these events"
        notes.append(f"{which} (0.2.0 and earlier wrote them): --log-rules says it, and tells what is expected since")
    return notes


def _first(differences: "Mapping[str, Difference]", number: int) -> "list[Difference]":
    """Return the first differences of each partition, in turn."""
    by_partition: dict[int, list[Difference]] = {}
    for difference in differences.values():
        by_partition.setdefault(difference.partition, []).append(difference)
    in_turn = sorted(
        (rank, partition, difference)
        for partition, those in by_partition.items()
        for rank, difference in enumerate(those)
    )
    return [difference for _, _, difference in in_turn[:number]]


def _explained(difference: "Difference", found: "Source", *, unmask: bool) -> "Explained":
    from halter.history.explaining import explained

    return explained(difference, found, found.definitions(), found.codec, unmask=unmask)


def _print(report: "Report", told: "list[Explained]", seconds: float, show: int, *, unmask: bool) -> None:
    from halter.history.verify_text import explained_lines, key_lines, summary, totals, verdict

    differs = report.differences or report.keys.differences
    print_line(verdict(report), bold=True, fg="red" if differs else None)
    for line in [*totals(report), *summary(report, seconds)]:
        print_line(line)
    for one in told:
        typer.echo("")
        for line in explained_lines(one, unmask=unmask):
            print_line(line)
    for key, difference in islice(report.keys.differences.items(), show):
        typer.echo("")
        for line in key_lines(key, difference):
            print_line(line)


@contextmanager
def progress(total: int, doing: str = "deciding again") -> "Iterator[Callable[[int], None]]":
    """Yield a function that is told of progress, and show it on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("events"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda entries: bar.advance(task, entries)


@asks_kafka
def check_state(
    partition: Annotated[
        int, typer.Option("--partition", metavar="N", min=0, help="Number of the partition.", show_default=False)
    ],
    show: Annotated[int, typer.Option("--show", metavar="N", min=0, help="How many rows that differ are told.")] = 10,
    unmask: Unmask = False,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Compare the rows of a partition with those that follow from its log.

    The rows are the state that workers go on with and that 'halter show' reads. No rule is run. Workers may run
    meanwhile: what they write in that moment is left out. A WfRun is left out too if the log has lost its first events.

    The values of rows may be secret. They are shown with --unmask only.

    - `halter check-state --partition 3`

    Exit codes: 0 the same, 1 something differs or an error, 2 wrong options.
    """
    from halter.history.checking_state import check_state as checked
    from halter.history.recorded_in_kafka import RecordedInKafka
    from halter.history.rows_in_kafka import rows_in_kafka
    from halter.history.verify_text import state_data, state_lines

    def expecting(topics: "Topics") -> None:
        if partition >= topics.partitions:
            raise BadOptions(f"--partition: expected 0 to {topics.partitions - 1}, found {partition}")

    with connected(kafka, to_send=False, expecting=expecting) as client:
        rows = rows_in_kafka(client, partition)
        recording = RecordedInKafka(client, partition)
        report = checked(partition, rows, recording.log(), client.codec, is_cut=recording.is_cut)
        if as_json:
            print_json(state_data(report))
        else:
            for line in state_lines(report, client.codec, show, unmask=unmask):
                print_line(line)
    if report.differences:
        raise typer.Exit(1)
