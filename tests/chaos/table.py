"""Returns the table of a run in Markdown, for a terminal and for docs/reliability.md."""

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.chaos.experiment import Report
from tests.chaos.faults import FAULTS
from tests.chaos.findings import Kind


def table(report: Report) -> str:
    """Return the whole table."""
    return "\n".join(lines(report))


def lines(report: Report) -> Iterator[str]:
    options, verdict = report.options, report.verdict
    by_kind = defaultdict(list)
    for felt in report.felt:
        by_kind[felt.kind].append(felt)
    yield "| fault | times | recovery p50 | max |"
    yield "|---|--:|--:|--:|"
    for kind in FAULTS:
        if found := by_kind.get(kind):
            yield f"| {kind} | {len(found)} | {recovery([it.seconds for it in found])} |"
    yield f"| **all** | **{len(report.felt)}** | {recovery([it.seconds for it in report.felt])} |"
    yield ""
    yield "| inputs | events | lost | doubled | out of order | else wrong |"
    yield "|--:|--:|--:|--:|--:|--:|"
    counts = [verdict.count(kind) for kind in (Kind.LOST, Kind.DOUBLED, Kind.OUT_OF_ORDER)]
    rest = len(verdict.findings) - sum(counts)
    yield f"| {verdict.inputs} | {verdict.events} | {' | '.join(map(str, counts))} | {rest} |"
    yield ""
    yield (
        f"Seed {options.seed}; {options.brokers} broker{'s' * (options.brokers > 1)}, {options.partitions} partitions, "
        f"{options.workers} workers ({options.members} members, {options.store} store, "
        f"{'KIP-848' if options.kip848 else 'classic protocol'}, session {options.real_session_s:g} s), "
        f"{options.rate:g} steps/s; {report.seconds:.0f} s in all."
    )
    yield (
        f"Of the inputs {verdict.accepted} had an effect, {verdict.refused} were refused, {verdict.dead_letters} "
        f"became dead letters; {verdict.wf_runs} WfRuns, {verdict.task_requests} task attempts, "
        f"{verdict.task_cancellations} cancellations of attempts."
    )
    yield f"{'; '.join(report.versions)}."
    yield f"Machine: {report.machine}."
    for name, figure in report.figures.items():
        yield f"- {name}: {figure}"
    for finding in verdict.findings:
        yield f"- **{finding}**"


def recovery(seconds: list[float | None]) -> str:
    """Return median and maximum as two cells. None has not recovered."""
    known = [it for it in seconds if it is not None]
    never = " (not all)" if len(known) < len(seconds) else ""
    return f"{median(known):.1f} s | {max(known):.1f} s{never}" if known else "never | never"
