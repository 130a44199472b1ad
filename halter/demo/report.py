"""Prints the result of the demo: the log of one WfRun, what became of the records, figures, and the check."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from halter.client.history import History
from halter.demo.feed import RecordAddress
from halter.demo.ledger import Ledger, Refusal, spelled
from halter.demo.script import Figures, Result
from halter.show import history
from halter.show.redaction import Redactor
from processors.core.records.events import (
    ExternalEventPosted,
    Halt,
    Ignored,
    InterruptDropped,
    InterruptSuperseded,
    LogEntry,
    Rejected,
    SpawnChild,
    TaskAttemptEnded,
    TaskAttemptRequested,
    ThreadHalted,
)
from processors.core.records.model import (
    NO_INCARNATION,
    ExternalEventStatus,
    ParentHalted,
    PendingInterrupt,
    Status,
    TaskStatus,
    ThreadType,
)
from processors.core.rules.engine import new_run, replay

SENTENCE_LENGTH_MAX: Final = 150
EVENT_WIDTH: Final = 100


class Paint:
    """Paints text in colours, if the terminal shows them."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, text: str, code: str) -> str:
        """Return a text painted bold, green, red, yellow, cyan or dim."""
        codes = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
        return f"\033[{codes[code]}m{text}\033[0m" if self._colours else text


def lines(result: Result, paint: Paint) -> Iterator[str]:
    """Yield the whole report, line by line."""
    ledger = result.ledger
    chosen = telling_wf_run(ledger)
    if chosen is not None:
        entries = Redactor(result.client.definitions()).entries(ledger.histories[chosen])
        yield from _log(chosen, entries, paint)
        yield ""
    yield from _totals(ledger, paint)
    yield ""
    yield from _refused(ledger.refusals(), paint)
    yield ""
    yield from _figures(result.figures, ledger, paint)
    yield ""
    yield from _check(ledger, paint)


def telling_wf_run(ledger: Ledger) -> str | None:
    """Return the WfRun whose log shows most in the fewest lines, best one interrupted while its task was out."""

    def badness(wf_run_id: str) -> tuple[int, int, str]:
        entries = ledger.histories[wf_run_id]
        lacks = (
            not any(is_handler(entry) for entry in entries),
            not waited_for_its_task(entries),
            not any(isinstance(it.event, Halt) and isinstance(it.event.reason, ParentHalted) for it in entries),
            entries[0].incarnation == NO_INCARNATION,
        )
        return sum(lacks), len(entries), wf_run_id

    ended = [it for it, entries in ledger.histories.items() if replay(entries, new_run(it)).status is Status.COMPLETED]
    return min(ended or ledger.histories, key=badness, default=None)


def waited_for_its_task(entries: list[LogEntry]) -> bool:
    """Return True if an interrupt came while a task was out, so that the thread was HALTED only after the report."""
    task_out = waits = ended = False
    for entry in entries:
        match entry.event:
            case TaskAttemptRequested(thread=0):
                task_out = True
            case Halt(thread=0, reason=PendingInterrupt()) if task_out:
                waits = True
            case TaskAttemptEnded(thread=0):
                task_out, ended = False, waits
            case ThreadHalted(thread=0) if ended:
                return True
    return False


def is_handler(entry: LogEntry) -> bool:
    """Return True if this entry starts an Interrupt Handler."""
    return isinstance(entry.event, SpawnChild) and entry.event.type is ThreadType.INTERRUPT


def _log(wf_run_id: str, entries: list[LogEntry], paint: Paint) -> Iterator[str]:
    loud = ("Halt ", "ThreadHalted", "SpawnChild", "Resume")
    for number, line in enumerate(history.text(History.of(wf_run_id, entries), EVENT_WIDTH)):
        if number == 0:
            yield paint(f"The log of WfRun {line}", "bold")
        elif line.lstrip("- 0123456789").startswith("E  ") and line.split("E  ", 1)[1].startswith(loud):
            yield paint(line, "cyan")
        else:
            yield line


def _totals(ledger: Ledger, paint: Paint) -> Iterator[str]:
    yield paint(f"What became of {len(ledger.inputs):,} records", "bold")
    table = [["topic", "records", "with effects", "rejected", "ignored", "dead letters"]]
    for topic in sorted({topic for topic, _, _ in ledger.inputs}):
        fates = Counter(_fate(ledger, address) for address in ledger.inputs if address[0] == topic)
        table.append([topic, *(f"{fates[fate]:,}" for fate in table[0][2:])])
        table[-1].insert(1, f"{fates.total():,}")
    yield from _aligned(table)
    yield ""
    yield from _wf_runs(ledger, paint)


def _fate(ledger: Ledger, address: RecordAddress) -> str:
    if address in ledger.dead_letters:
        return "dead letters"
    if address in ledger.definition_outcomes:
        accepted = hasattr(ledger.definition_outcomes[address], "changed")
        return "with effects" if accepted else "rejected"
    first = ledger.outcomes[address][0].event if address in ledger.outcomes else None
    match first:
        case Rejected():
            return "rejected"
        case Ignored():
            return "ignored"
        case None:
            return "nothing"
        case _:
            return "with effects"


def _wf_runs(ledger: Ledger, paint: Paint) -> Iterator[str]:
    runs = [replay(entries, new_run(wf_run_id)) for wf_run_id, entries in ledger.histories.items()]
    statuses = Counter(str(run.status) for run in runs if run.status is not None)
    counted = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    yield f"{paint('WfRuns', 'bold')}      {counted}"
    handlers = sum(is_handler(entry) for entry in ledger.events)
    events = Counter(type(entry.event) for entry in ledger.events)
    yield (
        f"{paint('Interrupts', 'bold')}  {handlers:,} handled, {events[InterruptSuperseded]:,} superseded by a newer "
        f"event, {events[InterruptDropped]:,} dropped because their thread ended"
    )
    unclaimed = sum(
        event.status is ExternalEventStatus.UNCLAIMED for run in runs for event in run.external_events.values()
    )
    yield (
        f"{paint('Events', 'bold')}      {events[ExternalEventPosted]:,} ExternalEvents accepted; {unclaimed:,} of "
        "them are unclaimed: their cart had ended before, or never existed"
    )
    ends = Counter(entry.event.status for entry in ledger.events if isinstance(entry.event, TaskAttemptEnded))
    yield (
        f"{paint('Tasks', 'bold')}       {events[TaskAttemptRequested]:,} attempts, {ends[TaskStatus.SUCCESS]:,} done, "
        f"{ends[TaskStatus.EXCEPTION]:,} ended in a business exception"
    )


def _refused(refusals: list[Refusal], paint: Paint) -> Iterator[str]:
    yield paint("Refused, and why (one example each)", "bold")
    width = max((len(refusal.code) + len(refusal.what) for refusal in refusals), default=0) + 1
    for refusal in refusals:
        what = f"{refusal.code} {refusal.what}"
        sentence = refusal.example
        if len(sentence) > SENTENCE_LENGTH_MAX:
            sentence = sentence[: SENTENCE_LENGTH_MAX - 1] + "…"
        yield f"{refusal.count:>5}  {what:<{width}}  {spelled(refusal.address)}: {sentence}"


def _figures(figures: Figures, ledger: Ledger, paint: Paint) -> Iterator[str]:
    entries = sum(1 for _ in ledger.events)
    yield paint("Figures (one worker process; Kafka, task worker and this program share the machine)", "bold")
    yield (
        f"  latency   p50 {figures.latency_ms(0.5):.0f} ms, p99 {figures.latency_ms(0.99):.0f} ms from produce to the "
        f"first committed event that a consumer sees ({len(figures.latencies):,} records at "
        f"{figures.per_second:,.0f}/s)"
    )
    seconds = max(figures.drain_s, 1e-3)
    yield (
        f"  rate      {figures.drained / seconds:,.0f} records/s, "
        f"{figures.drained_events / seconds:,.0f} events/s: the {figures.drained:,} records left after "
        "the kill, end to end"
    )
    yield (
        f"  kill -9   after {figures.handled_when_killed:,} of {figures.records:,} records; "
        f"{figures.outage_s:.1f} s until the next outcome"
    )
    yield f"  in all    {entries:,} events on the log, {figures.total_s:.0f} s from the start of the demo"


def _check(ledger: Ledger, paint: Paint) -> Iterator[str]:
    yield paint("Check: all topics were read again, independently of the figures above", "bold")
    for check in ledger.checks:
        verdict = paint("FAILED", "red") if check.broken else paint("ok", "green")
        count = f"{check.broken:,} of " if check.broken else ""
        yield f"  {verdict}  {check.promise} ({count}{check.looked_at:,})"
        for problem in check.problems:
            yield f"        {problem}"
    yield paint("CHECK PASSED", "green") if ledger.holds else paint("CHECK FAILED", "red")


def _aligned(table: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        first, *rest = row
        cells = [f"{first:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))]
        yield "  " + "   ".join(cells)
