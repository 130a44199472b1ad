"""Compares what was recorded of a partition with what deciding its inputs again gives, byte for byte.

The log has the order of the inputs, and the position of `definitions` at which each was decided. All entries of an
input are compared, and the first that differs is told. A WfRun in which something differs is decided further, but
compared no more: what differs later follows from the first difference.

Nothing is held but one chunk of the log, the state of the WfRuns, and what was found.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from halter.history.blocks import Block, NotAnEvent, blocks
from halter.history.deciding import Decider, Entry, Outcome, Row, Step
from halter.history.expected import Expected
from halter.history.found import DECIDED_OTHERWISE, Difference, Kind, Reason, Report
from halter.history.recording import Recorded, Recording
from halter.history.state_of_log import StateOfLog
from processors.codec import Codec, DecodeError
from processors.core.records.commands import DefinitionKind
from processors.core.records.events import (
    Cause,
    Definition,
    Event,
    InputKept,
    LogEntry,
    RecordSkipped,
    Rejected,
    WfRunDeleted,
    WfRunEnded,
    WfRunMigrated,
    WfRunReleased,
    WfRunStarted,
)
from processors.core.records.model import WfSpecId
from processors.core.records.topic_names import DEFINITION_COMMANDS, OPERATOR_COMMANDS
from processors.core.rules.context import Limits
from processors.core.rules.versions import RuleChange
from processors.fold.inputs import CORRELATION_INPUTS, SHARD_INPUTS, InputRecord

CHUNK: Final = 2_000
"""Number of entries that are decided at once."""
FOLDED_ALREADY: Final = re.compile(r"SkipRecord of (\S+)\[\d+\]@\d+: it is folded already: \D*(\d+)$")
"""A refusal that says how far a topic was folded: the log does not say when dead letters were."""
_NAME_A_VERSION: Final = (WfRunStarted.__name__, WfRunMigrated.__name__)
"""The events that say which version of a WfSpec a WfRun goes by."""
BEHIND_A_QUARANTINE: Final = (InputKept.__name__, WfRunReleased.__name__)
NO_END: Final = "no end"


class Within(NamedTuple):
    """A part of the log, by offsets: the inputs whose first entry lies in it."""

    begin: int
    end: int
    """The first offset behind it."""


class Item(NamedTuple):
    """An input to decide."""

    step: Step
    block: Block | None
    """What the log has of it."""
    has_left: bool = True
    """True if it must have left something: events, or a dead letter."""


class Verifying:
    """Verifies one partition, once."""

    def __init__(
        self,
        recording: Recording,
        decider: Decider,
        codec: Codec,
        only: Collection[str] | None = None,
        told: Callable[[int], None] = lambda _: None,
        limits: Limits | None = None,
        unnamed_rules: int | None = None,
        within: Within | None = None,
    ) -> None:
        """`only` has the WfRuns to verify; None: all. `told` is called with the number of entries that were read.

        `unnamed_rules` is the version of the rules that decided events whose records name none. `within`: decide the
        inputs of this part of the log only. The state before it is what the log says.
        """
        self._within = within
        self._recording, self._decider, self._codec, self._told = recording, decider, codec, told
        self._limits = limits or Limits()
        self._expected = Expected(decider.rules, unnamed_rules)
        self._newest_rules = self._expected.newest
        self._only = None if only is None else frozenset(wf_run_id.encode() for wf_run_id in only)
        self._inputs = recording.inputs()
        self._following: dict[str, int] = {}
        self._unverified: set[bytes] = set()
        self._differ: dict[bytes, dict[str, str]] = {}
        """The keys of WfRuns that differ -> how they ended: as recorded, and as decided again."""
        self._position = 0
        """The position of `definitions` at which the block before was decided."""
        self._seen: set[bytes] = set()
        """The keys of WfRuns that the log has named, if its beginning is gone."""
        self._begun: set[str] = set()
        """The topics of which inputs were read, if the beginning of the log is gone."""
        self._cut_ms: int | None = None
        self._doubtful: set[bytes] = set()
        """The keys of WfRuns that began so soon behind the cut that ExternalEvents for them can be before it."""
        self._hidden: dict[WfSpecId, Row] = {}
        """Versions of WfSpecs that were deleted since, and of which nothing says when they were registered."""
        self._told_before: tuple[Row, ...] = ()
        """Those of them that were run before the first input that is decided."""
        self.report = Report()

    def run(self) -> Report:
        """Verify, and return what was found."""
        self._define()
        log = blocks(self._recording.log(), self._codec, self._following, has_all=self._recording.has_all)
        self._take_over(log)
        items: list[Item] = []
        entries = 0
        for block in log:
            if self._within is not None and begins_at(block) >= self._within.end:
                break
            entries += len(block.entries)
            items += self._items(block)
            if entries >= CHUNK:
                self._compare_all(items)
                self._told(entries)
                items, entries = [], 0
        self._compare_all(items)
        self._told(entries)
        for ends in self._differ.values():
            self.report.ends[ends.get("recorded", NO_END), ends.get("decided", NO_END)] += 1
        return self.report

    # Definitions.

    def _define(self) -> None:
        """Hand out the definitions. Of a version that was deleted since, only the deletion may be left."""
        known: set[bytes] = set()
        for offset, row in self._recording.definitions():
            definition = None if row.value is None else self._codec.decode(row.value)
            if isinstance(definition, Definition) and definition.deleted and row.key not in known:
                self.report.assumed += 1
                before = Row(row.key, self._codec.encode(replace(definition, deleted=False)))
                if definition.kind is DefinitionKind.WF_SPEC:
                    self._hidden[WfSpecId(definition.name, definition.major, definition.revision)] = before
                else:
                    self._decider.define(-1, before)
            known.add(row.key)
            self._decider.define(offset, row)

    def _first_told(self, entries: Iterable[Recorded]) -> tuple[Row, ...]:
        """Return definitions of which these entries are the first to tell that they were there."""
        told = []
        for recorded in entries if self._hidden else ():
            event = self._event(recorded.value) if self._name(recorded.value) in _NAME_A_VERSION else None
            if isinstance(event, WfRunStarted | WfRunMigrated) and event.wf_spec in self._hidden:
                told.append(self._hidden.pop(event.wf_spec))
        return tuple(told)

    # What is gone.

    def _take_over(self, log: Iterator[Block]) -> None:
        """Take the entries whose inputs are gone, or are not wanted, as they are. Begin with the state that follows."""
        number = self._blocks_taken_over()
        if number == 0:
            return
        state = StateOfLog(self._recording.partition, self._codec)
        for _ in range(number):
            block = next(log)
            self._told(len(block.entries))
            self._told_before += self._first_told(block.entries)
            self._note_folded(block)
            self._find_beginnings_gone(block)
            for recorded in block.entries:
                self.report.taken_over += 1
                if recorded.key not in self._unverified and not self._is_taken(state, recorded):
                    self._leave_out(recorded.key, Reason.BEGINNING_GONE)
            self._forget_deleted(block)
        for topic, row in state.rows():
            if not self._is_left_out(row.key.partition(b"/")[0]):
                self._decider.restore(topic, row)
        self._decider.restore(*state.position())
        for topic, offset in self._following.items():
            self._inputs.seek(topic, offset)
            self._begun.add(topic)

    def _note_folded(self, block: Block) -> None:
        """Note dead letters that were folded before this block, if it says so."""
        if block.cause is not None and block.cause.topic == OPERATOR_COMMANDS:
            said = self._said_to_be_folded(block.entries[0])
            if said is not None:
                self._following[said[0]] = max(said[1], self._following.get(said[0], 0))

    def _blocks_taken_over(self) -> int:
        """Return the number of blocks up to the last one whose input is gone, or is before what is wanted."""
        begins = {topic: self._inputs.begins(topic) for topic in SHARD_INPUTS}
        begin, end = self._within or Within(0, sys.maxsize)
        number = 0
        if begin or any(begins.values()):
            log = blocks(self._recording.log(), self._codec, {}, has_all=self._recording.has_all)
            for index, block in enumerate(log):
                if begins_at(block) >= end:
                    break
                if begins_at(block) < begin or lacks_input(block, begins):
                    number = index + 1
        return number

    def _is_taken(self, state: StateOfLog, recorded: Recorded) -> bool:
        try:
            return state.take(self._entry(recorded.value)) is None
        except DecodeError:
            return False

    def _find_beginnings_gone(self, block: Block) -> None:
        """Leave out the WfRuns whose first events are gone from the log."""
        for recorded in block.entries if self._recording.is_cut else ():
            if recorded.key not in self._seen:
                self._seen.add(recorded.key)
                if not self._begins(recorded):
                    self._leave_out(recorded.key, Reason.BEGINNING_GONE)

    def _begins(self, recorded: Recorded) -> bool:
        """Return True if an entry can be the first under an id. Note if something else can have come before it."""
        name = self._name(recorded.value)
        if name is None:
            return False
        seq, time_ms = self._codec.peek(recorded.value, name, ("seq", "time_ms"))
        if self._cut_ms is None:
            self._cut_ms = time_ms
        if time_ms < self._cut_ms + self._limits.unstarted_ms:
            self._doubtful.add(recorded.key)
        return name == WfRunStarted.__name__ or (seq == 0 and name not in BEHIND_A_QUARANTINE)

    def _forget_deleted(self, block: Block) -> None:
        """Look at a WfRun again from its deletion on, if its first events are gone: nothing is left of it."""
        for recorded in block.entries if self._unverified else ():
            is_deleted = self._name(recorded.value) == WfRunDeleted.__name__
            if is_deleted and self.report.unverified.get(_id_of(recorded.key)) is Reason.BEGINNING_GONE:
                self._unverified.discard(recorded.key)

    def _leave_out(self, key: bytes, reason: Reason) -> None:
        self._unverified.add(key)
        self.report.unverified.setdefault(_id_of(key), reason)

    def _is_left_out(self, key: bytes | None) -> bool:
        return key in self._unverified or (self._only is not None and key not in self._only)

    # Inputs.

    def _items(self, block: Block) -> list[Item]:
        """Return the inputs to decide for a block: its own, and those before it of which the log has nothing."""
        self._find_beginnings_gone(block)
        rules = block.entries[0].rules
        if rules is not None and rules > self._newest_rules:
            self._newest_rules = self.report.newer_rules = rules
        items = self._inputs_of(block)
        self._forget_deleted(block)
        return items

    def _inputs_of(self, block: Block) -> list[Item]:
        cause, head = block.cause, block.entries[0]
        if cause is None or not block.is_in_order:
            self._note(head.key, Kind.UNREADABLE if cause is None else Kind.OUT_OF_ORDER, cause, head, None)
            return []
        if cause.topic in CORRELATION_INPUTS:
            return []  # an operator had one skipped: what came of the others is not on this log
        if self._recording.is_cut and cause.topic not in self._begun:
            self._begun.add(cause.topic)
            self._inputs.seek(cause.topic, cause.offset)
        is_operated = cause.topic == OPERATOR_COMMANDS
        if not is_operated and not self._recording.has_all and self._is_left_out(head.key):
            return []
        before, record = self._inputs.take(cause.topic, cause.offset)
        position = cause.definitions_position
        if position < self._position:
            self._note(head.key, Kind.EARLIER_DEFINITIONS, cause, head, None)
        self._position = max(position, self._position)
        items = self._unlogged(before, position)
        if record is None:
            is_gone = not self._recording.has_all or cause.offset < self._inputs.begins(cause.topic)
            for recorded in block.entries:
                if not is_gone:
                    self._note(recorded.key, Kind.NO_INPUT, cause, recorded, None)
                elif not self._is_left_out(recorded.key):
                    self._leave_out(recorded.key, Reason.INPUT_GONE)
        elif is_operated or not all(self._is_left_out(recorded.key) for recorded in block.entries):
            coming: Sequence[InputRecord] = ()
            name = self._name(head.value) if is_operated else None
            if name == RecordSkipped.__name__:
                coming = self._inputs.coming(cause.offset)
            elif name == Rejected.__name__:
                items += self._folded_before(head, position)
            definitions = (*self._told_before, *self._first_told(block.entries))
            self._told_before = ()
            items.append(Item(Step(record, position, True, coming, definitions), block))
        return items

    def _unlogged(self, records: Sequence[InputRecord], position: int) -> list[Item]:
        """Return inputs that are between two with entries and have none themselves: dead letters, it seems."""
        if not self._recording.has_all:
            return []
        return [
            Item(Step(record, position, is_logged=False), None)
            for record in records
            if record.topic != DEFINITION_COMMANDS and not self._is_left_out(record.key)
        ]

    def _folded_before(self, refused: Recorded, position: int) -> list[Item]:
        """Return the dead letters, or definition commands, that were folded before a SkipRecord which says so."""
        said = self._said_to_be_folded(refused)
        if said is None or said[1] <= self._following.get(said[0], 0):
            return []
        topic, following = said
        is_known = not self._recording.is_cut or topic in self._begun
        if not is_known:
            self._begun.add(topic)
            self._inputs.seek(topic, following - 1)
        before, last = self._inputs.take(topic, following - 1)
        has_left = is_known and topic != DEFINITION_COMMANDS
        records = [*before, *([] if last is None else [last])]
        return [Item(Step(record, position, is_logged=False), None, has_left) for record in records]

    def _said_to_be_folded(self, refused: Recorded) -> tuple[str, int] | None:
        """Return how far a topic was folded: the topic and the next offset, if the refusal of a SkipRecord says it."""
        event = self._event(refused.value)
        said = FOLDED_ALREADY.search(event.message) if isinstance(event, Rejected) else None
        return None if said is None else (said[1], int(said[2]))

    # Comparing.

    def _compare_all(self, items: Sequence[Item]) -> None:
        outcomes = self._decider.decide([item.step for item in items])
        for item, outcome in zip(items, outcomes, strict=True):
            self.report.inputs += 1
            self.report.dead_letters += outcome.dead_letter is not None
            if item.block is not None:
                self._compare(item.block, outcome)
            elif outcome.dead_letter is None and item.has_left:
                self._look_for(item.step.record)

    def _look_for(self, record: InputRecord) -> None:
        """Note an input that has no outcome at all. One that could not be kept in quarantine is on `dead-letters`."""
        if not self._inputs.is_buried(record):
            cause = Cause(record.topic, record.partition, record.offset, None, 0)
            self._note(record.key or b"", Kind.NOT_RECORDED, cause, None, None)
        else:
            self.report.dead_letters += 1

    def _compare(self, block: Block, outcome: Outcome) -> None:
        recorded, decided = block.entries, outcome.entries
        if len(recorded) == len(decided) and all(
            one.value == other.value and one.key == other.key for one, other in zip(recorded, decided, strict=True)
        ):
            self._count(recorded)
            return
        for key in dict.fromkeys([*(it.key for it in recorded), *(it.key for it in decided)]):
            if self._is_left_out(key):
                continue
            ours = [it for it in recorded if it.key == key]
            if outcome.lacks_definition:
                self._leave_out(key, Reason.DEFINITION_GONE)
            elif key in self._differ:
                self._note_ends(key, ours, decided)
            else:
                self._compare_those(block, key, ours, [it for it in decided if it.key == key], outcome.raised)

    def _compare_those(
        self, block: Block, key: bytes, recorded: list[Recorded], decided: list[Entry], raised: str | None
    ) -> None:
        """Compare the entries about one WfRun."""
        for index in range(max(len(recorded), len(decided))):
            one = recorded[index] if index < len(recorded) else None
            other = decided[index] if index < len(decided) else None
            if one is not None and other is not None and one.value == other.value:
                continue
            kind = self._kind(one, other) if raised is None else Kind.RAISED
            if kind is None:
                self.report.by_older_schemas += 1
                continue
            rules = block.entries[0].rules  # a worker decides a block at once, so they are the same for all of it
            change = self._change(kind, rules, one, other)
            if change is not None and change.fields:
                self.report.filled_otherwise[change] += 1
                self.report.events -= 1
                continue
            self._count(recorded[:index])
            self._note(key, kind, block.cause, one, other, index, raised, rules, change)
            if key in self._differ:
                self._note_ends(key, recorded, decided)
            return
        self._count(recorded)

    def _kind(self, recorded: Recorded | None, decided: Entry | None) -> Kind | None:
        """Return the kind of a difference; None if another release wrote the same event."""
        if recorded is None:
            return Kind.MORE
        try:
            one = self._entry(recorded.value)
        except DecodeError:
            return Kind.UNREADABLE
        if decided is None:
            return Kind.FEWER
        try:
            other = self._entry(decided.value)
        except DecodeError:  # of rules that are newer than ours
            return Kind.OTHER_EVENT
        if type(one.event) is not type(other.event):
            return Kind.OTHER_EVENT
        if one != other:
            return Kind.OTHER_VALUE
        schemas = [self._codec.framing.schema(value).fingerprint for value in (recorded.value, decided.value)]
        return Kind.OTHER_BYTES if schemas[0] == schemas[1] else None

    def _change(
        self, kind: Kind, rules: int | None, recorded: Recorded | None, decided: Entry | None
    ) -> RuleChange | None:
        """Return the change of the rules that explains a difference; None if none does."""
        if kind not in DECIDED_OTHERWISE:
            return None
        try:
            one, other = (None if it is None else self._entry(it.value) for it in (recorded, decided))
        except DecodeError:
            return None
        return self._expected.change(rules, one, other)

    def _note(
        self,
        key: bytes,
        kind: Kind,
        cause: Cause | None,
        recorded: Recorded | None,
        decided: Entry | None,
        before: int = 0,
        message: str | None = None,
        rules: int | None = None,
        change: RuleChange | None = None,
    ) -> None:
        if key in self._differ or self._is_left_out(key):
            return
        if key in self._doubtful:
            self._leave_out(key, Reason.MAYBE_OLDER)
            return
        self._differ[key] = {}
        found = self.report.differences if change is None else self.report.expected
        found[_id_of(key)] = Difference(
            _id_of(key),
            kind,
            self._recording.partition,
            None if recorded is None else recorded.offset,
            cause,
            None if recorded is None else recorded.value,
            None if decided is None else decided.value,
            before,
            message,
            rules,
            change,
        )

    def _note_ends(self, key: bytes, recorded: Iterable[Recorded], decided: Iterable[Entry]) -> None:
        """Note how a WfRun ends that differs."""
        for side, entries in (("recorded", recorded), ("decided", decided)):
            for entry in entries:
                is_end = entry.key == key and self._name(entry.value) == WfRunEnded.__name__
                event = self._event(entry.value) if is_end else None
                if isinstance(event, WfRunEnded):
                    self._differ[key][side] = event.status.value

    def _count(self, recorded: Sequence[Recorded]) -> None:
        report = self.report
        report.events += len(recorded)
        report.wf_runs += sum(self._name(it.value) == WfRunStarted.__name__ for it in recorded)

    def _name(self, value: bytes) -> str | None:
        try:
            return self._codec.record_name(value)
        except DecodeError:
            return None

    def _event(self, value: bytes) -> Event | None:
        """Return the event of an entry; None if it cannot be read."""
        try:
            return self._entry(value).event
        except DecodeError:
            return None

    def _entry(self, value: bytes) -> LogEntry:
        """Return an entry of the log. Raises DecodeError."""
        entry = self._codec.decode(value)
        if not isinstance(entry, LogEntry):
            raise NotAnEvent(f"expected an event of the log, found a {type(entry).__name__}")
        return entry


def begins_at(block: Block) -> int:
    """Return the offset at which a block begins; 0 if the recording names none."""
    return block.entries[0].offset or 0


def lacks_input(block: Block, begins: Mapping[str, int]) -> bool:
    """Return True if the input of a block is gone. `begins`: topic -> the first offset that is there."""
    return block.cause is not None and block.cause.offset < begins.get(block.cause.topic, 0)


def _id_of(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
