"""Checks that a fold of the log with the core's `evolve`, and nothing else of the engine, gives the rows.

fastavro writes the rows here, and they are compared byte for byte with the last values of the state topics. Only the
contents of `fold-positions` are compared: the position of `definitions` of a turn with dead letters alone is not on the
log.
"""

from collections.abc import Iterable, Iterator

from processors.core.records.model import TERMINAL, WfRun
from processors.core.rules.evolve import evolve, new_run
from tests.chaos.avro import decode, log_entry, row
from tests.chaos.findings import Finding, Kind
from tests.chaos.tape import DEFINITIONS, FOLD_POSITIONS, INPUTS, STATE, Entry, Tape

TIMER_GRACE_MS = 5_000
"""How long before the end of reading a timer must have been due to count as one that should have fired."""

Rows = dict[tuple[int, bytes], bytes]


class FoldedLog:
    """The WfRuns as the log gives them."""

    def __init__(self, log: Iterable[Entry]) -> None:
        self.runs: dict[tuple[int, str], WfRun] = {}
        self.findings: list[Finding] = []
        broken = set()
        for entry in log:
            key = (entry.partition, entry.fields["wf_run_id"])
            run = self.runs.get(key)
            if run is None:
                run = self.runs[key] = new_run(key[1])
            if key in broken:
                continue
            try:
                evolve(run, log_entry(entry.name, entry.fields))
            except Exception as error:  # noqa: BLE001  a wrong log may break a fold anywhere
                broken.add(key)
                self.findings.append(Finding(Kind.STATE, f"{entry} cannot be folded: {error!r}"))

    def rows(self) -> dict[str, Rows]:
        """Return the rows that must be on the state topics."""
        found: dict[str, Rows] = {topic: {} for topic in STATE}
        for (partition, wf_run_id), run in self.runs.items():
            if run.exists:
                found["wf-runs"][partition, wf_run_id.encode()] = row(run)
            for thread in run.threads.values():
                found["thread-runs"][partition, f"{wf_run_id}/{thread.number}".encode()] = row(thread)
            for key, event in run.external_events.items():
                found["wf-run-external-events"][partition, "/".join((wf_run_id, *key)).encode()] = row(event)
        return found

    def check_rows(self, tape: Tape) -> Iterator[Finding]:
        """Compare the rows with the topics."""
        for topic, expected in self.rows().items():
            found = tape.last_values(topic)
            for partition, key in expected.keys() | found.keys():
                was, wanted = found.get((partition, key)), expected.get((partition, key))
                if was != wanted:
                    how = "is missing" if was is None else "should not be there" if wanted is None else "differs"
                    yield Finding(Kind.STATE, f"{topic}[{partition}], key {key!r}: the row {how}")

    def check_unfired(self, tape: Tape) -> Iterator[Finding]:
        """Expect that no timer is armed that should have fired long ago."""
        for run in self.runs.values():
            for thread in run.threads.values():
                timer = thread.node.timer
                if timer is None or thread.status in TERMINAL or timer.due_ms > tape.read_at_ms - TIMER_GRACE_MS:
                    continue
                late_s = (tape.read_at_ms - timer.due_ms) / 1_000
                yield Finding(
                    Kind.TIMER,
                    f"{timer.kind} of WfRun {run.wf_run_id!r}, thread {thread.number} has been due for {late_s:.1f} s",
                )


def check_positions(tape: Tape, log: Iterable[Entry]) -> Iterator[Finding]:
    """Expect that the folded offsets are behind the last inputs, at a position of `definitions` that existed."""
    newest = dict.fromkeys(range(tape.partitions), 0)
    for entry in log:
        newest[entry.partition] = max(newest[entry.partition], entry.fields["cause"]["definitions_position"])
    end = tape.definitions_end
    if end is None:
        end = max((record.offset + 2 for _, record in tape.of(DEFINITIONS)), default=0)
    rows = tape.last_values(FOLD_POSITIONS)
    for topic in INPUTS:
        for partition, records in tape.topics.get(topic, {}).items():
            if not records:
                continue
            data = rows.get((partition, b"%d" % partition))
            folded = decode(data)[1]["offsets"].get(topic) if data else None
            if folded != records[-1].offset + 1:
                yield Finding(
                    Kind.STATE,
                    f"fold-positions[{partition}]: {topic} is folded up to {folded}, its last record is "
                    f"@{records[-1].offset}",
                )
    for (partition, _), data in rows.items():
        position = decode(data)[1]["definitions_position"]
        if not newest.get(partition, 0) <= position <= end:
            yield Finding(
                Kind.STATE,
                f"fold-positions[{partition}]: expected a position of definitions from {newest.get(partition, 0)} to "
                f"{end}, found {position}",
            )
