"""Checks that rows follow the log: all rows of a partition that are written together are those of one position.

Each record of `fold-positions` stands for one writing of rows. Its offsets tell how much of the log the rows have: a
fold of so much of it, with the core's `evolve` and nothing else of the engine, gives the rows byte for byte. So no row
may be ahead of the position that was written with it, and none may be behind.

A tape does not say which rows were written together. The rows of a topic come in order, so those of the next position
are the next ones; a row of another position does not fit.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from processors.core.records.model import WfRun
from processors.core.rules.evolve import evolve, new_run
from tests.chaos.avro import decode, log_entry, row
from tests.chaos.findings import Finding, Kind
from tests.chaos.tape import FOLD_POSITIONS, STATE, Entry, Tape, TapeRecord

WF_RUNS, THREAD_RUNS, EXTERNAL_EVENTS = STATE
RowKey = tuple[str, bytes]
"""Topic and key of a row."""
SHOWN: Final = 20


class Following:
    """The rows of one partition, as its log gives them, position after position."""

    def __init__(self, tape: Tape, log: Iterable[Entry], partition: int) -> None:
        self._partition, self._log = partition, list(log)
        self._positions = tape.topics.get(FOLD_POSITIONS, {}).get(partition, [])
        self._written = {topic: list(tape.topics.get(topic, {}).get(partition, [])) for topic in STATE}
        self._read = dict.fromkeys(STATE, 0)
        self._folded = 0
        self._runs: dict[str, WfRun] = {}
        self._expected: dict[RowKey, bytes | None] = {}
        """The rows at the position; None for one that is gone."""
        self._finals: dict[RowKey, bytes] = {}
        """The last rows of the threads that have finished since the position before."""
        self._gone: Counter[RowKey] = Counter()
        """How often rows went since the position before. They may be there again, under an id that was free."""
        self._found: dict[RowKey, bytes | None] = {}

    def check(self) -> Iterator[Finding]:
        """Compare the rows of each position. What comes after the first that is wrong says nothing new."""
        for record in self._positions:
            position = decode(record.value or b"")[1]
            changed = self._fold_to(position["offsets"])
            found = list(self._compare(changed, record))
            found += self._check_log_position(position["log_position"], record)
            yield from found[:SHOWN]
            if found:
                return
        for topic, records in self._written.items():
            if self._read[topic] < len(records):
                key = records[self._read[topic]].key
                yield self._finding(topic, key, "comes after the last position, and is not the row of that")

    def _fold_to(self, offsets: dict[str, int]) -> set[RowKey]:
        """Fold what these offsets say is folded. Return the rows that changed."""
        touched: dict[str, WfRun] = {}
        while self._folded < len(self._log):
            entry = self._log[self._folded]
            if entry.cause.offset >= offsets.get(entry.cause.topic, 0):
                break
            wf_run_id = entry.fields["wf_run_id"]
            run = touched[wf_run_id] = self._runs.setdefault(wf_run_id, new_run(wf_run_id))
            evolve(run, log_entry(entry.name, entry.fields))
            self._folded += 1
        self._finals, self._gone = {}, Counter()
        return {key for run in touched.values() for key in self._note_changes(run)}

    def _note_changes(self, run: WfRun) -> set[RowKey]:
        """Note what the rows of a WfRun are now."""
        changes, prefix = run.changes, run.wf_run_id
        gone: list[RowKey] = []
        for thread in changes.left:
            key = THREAD_RUNS, f"{prefix}/{thread.number}".encode()
            gone.append(key)
            if not changes.deleted:
                self._finals[key] = row(thread)
        gone += [(EXTERNAL_EVENTS, "/".join((prefix, *event)).encode()) for event in changes.forgotten]
        now: dict[RowKey, bytes | None] = dict.fromkeys(gone)
        for number in changes.threads:
            now[THREAD_RUNS, f"{prefix}/{number}".encode()] = row(run.threads[number])
        for event in changes.external_events:
            now[EXTERNAL_EVENTS, "/".join((prefix, *event)).encode()] = row(run.external_events[event])
        if run.exists or run.quarantined_ms is not None:
            now[WF_RUNS, prefix.encode()] = row(run)
        elif changes.deleted or changes.released:
            now[WF_RUNS, prefix.encode()] = None
        changes.clear()
        self._expected |= now
        self._gone.update(gone)
        return now.keys()

    def _compare(self, changed: set[RowKey], at: TapeRecord) -> Iterator[Finding]:
        """Take the rows that were written with a position, and compare them."""
        where = f"at the position fold-positions[{self._partition}]@{at.offset}"
        finals, gone = dict(self._finals), Counter(self._gone)
        for topic, records in self._written.items():
            while self._read[topic] < len(records):
                record = records[self._read[topic]]
                key = topic, record.key or b""
                if record.value is not None and finals.get(key) == record.value:
                    del finals[key]
                elif record.value is None and gone[key]:
                    gone[key] -= 1
                elif self._expected.get(key) != record.value:
                    break
                self._found[key] = record.value
                self._read[topic] += 1
        for topic, key in sorted(changed):
            was, wanted = self._found.get((topic, key)), self._expected[topic, key]
            if was != wanted:
                how = "is missing" if was is None else "should not be there" if wanted is None else "differs"
                yield self._finding(topic, key, f"{how} {where}")
        for topic, key in sorted(finals):
            yield self._finding(topic, key, f"of a thread that has finished is missing {where}")

    def _check_log_position(self, log_position: int | None, at: TapeRecord) -> Iterator[Finding]:
        """Expect that the log from there on has everything that is not in the rows."""
        rest = self._log[self._folded :]
        if log_position is not None and rest and rest[0].record.offset < log_position:
            yield Finding(
                Kind.STATE,
                f"fold-positions[{self._partition}]@{at.offset}: its log_position is {log_position}, and the rows do "
                f"not have {rest[0]}",
            )

    def _finding(self, topic: str, key: bytes | None, how: str) -> Finding:
        return Finding(Kind.STATE, f"{topic}[{self._partition}], key {key!r}: the row {how}")


def check_rows_follow(tape: Tape, log: Iterable[Entry]) -> Iterator[Finding]:
    """Expect that the rows of each partition follow its log. A log that cannot be folded is found elsewhere."""
    entries = list(log)
    for partition in range(tape.partitions):
        try:
            yield from Following(tape, [it for it in entries if it.partition == partition], partition).check()
        except Exception as error:  # noqa: BLE001  a wrong log may break a fold anywhere
            yield Finding(Kind.STATE, f"the log of partition {partition} cannot be folded step by step: {error!r}")
