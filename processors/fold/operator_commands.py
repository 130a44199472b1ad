"""Decides the commands of operators: to keep the inputs of a WfRun, to decide them again, to skip a record.

The shard folds these commands before the other inputs of a turn, and no others while it is paused, so that they get
past the record that breaks a rule. Knows which records are to be skipped and which commands were decided before. Both
are part of the partition's FoldPosition.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from processors.codec import Codec
from processors.core.records.commands import OperatorCommand, QuarantineWfRun, ReleaseWfRun, SkipRecord
from processors.core.records.errors import HalterError
from processors.core.records.events import Event, Rejected, RejectionCode, SkipAccepted
from processors.core.records.fold_position import FoldPosition, PendingSkip
from processors.core.records.model import WfRun
from processors.core.records.topic_names import OPERATOR_COMMANDS
from processors.core.records.values import Timestamp, iso_of
from processors.core.rules.context import Limits
from processors.core.rules.decide import Refusal
from processors.core.rules.evolve import COMMAND_IDS_REMEMBERED
from processors.core.rules.quarantine import quarantined, released
from processors.fold.inputs import InputRecord


@dataclass(slots=True)
class OperatorFold:
    """Decides the operator commands of one partition. `inputs`: the topics whose records may be skipped."""

    inputs: Collection[str]
    limits: Limits
    can_be_written: bool = True
    """True if the state can say what operators ask for. During an upgrade, that of an earlier release cannot."""
    skips: list[PendingSkip] = field(default_factory=list)
    """The records to skip, each until the next record of its topic comes.

    Also the operator commands that were skipped for a SkipRecord after them, until that is folded. Their offsets are
    folded.
    """
    command_ids: list[str] = field(default_factory=list)
    _coming: dict[tuple[int, int], PendingSkip] = field(default_factory=dict)
    """(offset, time) -> the skip of an operator command, for which a SkipRecord after it asks."""

    def see_coming(self, skip: SkipRecord, offset: int, offsets: Mapping[str, int]) -> None:
        """Note a SkipRecord ahead of its turn, if it asks to skip an operator command that comes before it.

        `offset` is its own; `offsets` are the next to fold of each input.
        """
        is_before_it = skip.topic == OPERATOR_COMMANDS and offsets.get(skip.topic, 0) <= skip.offset < offset
        if is_before_it and self.can_be_written and skip.timestamp_ms is not None:
            self._coming.setdefault((skip.offset, skip.timestamp_ms), _pending(skip, skip.timestamp_ms))

    def take_skip(self, record: InputRecord) -> tuple[PendingSkip | None, Sequence[PendingSkip]]:
        """Take the skips that end because this record comes. Return the one for it, None without one, and those that
        lapse.

        A skip is for the next record of its topic or for none, so no other is ever skipped (rule
        skip-is-for-one-record). Offsets without a record, such as marks of transactions, need no rule: no record comes
        for them.
        """
        if record.topic == OPERATOR_COMMANDS:
            return self._skip_that_comes(record), ()
        if not self.skips:
            return None, ()
        of_topic = [skip for skip in self.skips if skip.topic == record.topic]
        if not of_topic:
            return None, ()
        self.skips = [skip for skip in self.skips if skip.topic != record.topic]
        meant = next((skip for skip in of_topic if _is(skip, record)), None)
        return meant, [skip for skip in of_topic if skip is not meant]

    def _skip_that_comes(self, record: InputRecord) -> PendingSkip | None:
        if not self._coming:
            return None
        coming = self._coming.get((record.offset, record.timestamp_ms))
        self._coming = {key: skip for key, skip in self._coming.items() if key[0] > record.offset}
        if coming is not None:
            # The fold of the SkipRecord, perhaps after a crash, must know what it has done.
            self.skips.append(coming)
        return coming

    def passed_over(self, command: SkipRecord, offsets: Mapping[str, int]) -> None:
        """Forget the skip of an operator command, because its SkipRecord was skipped itself, or refused."""
        skip = self._skip_of(command)
        if skip is not None and skip.offset < offsets.get(skip.topic, 0):
            self.skips.remove(skip)

    def _skip_of(self, command: SkipRecord) -> PendingSkip | None:
        return next((skip for skip in self.skips if _address(skip) == _address(command)), None)

    def decide(
        self,
        command: OperatorCommand,
        run: WfRun,
        time_ms: int,
        offsets: Mapping[str, int],
        broken: HalterError | None = None,
    ) -> Event:
        """Return the event of a command. `run` is its WfRun. `offsets` are the next to fold of each input.

        `broken` is the reason why the WfRun cannot be read as a whole; None if it can.
        """
        name = type(command).__name__
        try:
            self._check_can_be_written()
            self._check_repeat(command)
            match command:
                case QuarantineWfRun():
                    return quarantined(run, command, time_ms)
                case ReleaseWfRun():
                    event = released(run, command, time_ms)
                    _check_whole(broken)
                    return event
                case SkipRecord():
                    return self._skip(command, offsets)
        except Refusal as refusal:
            if isinstance(command, SkipRecord):
                self.passed_over(command, offsets)
            about = (
                f"{command.topic}[{command.partition}]@{command.offset}"
                if isinstance(command, SkipRecord)
                else f"WfRun {command.wf_run_id!r}"
            )
            return Rejected(name, refusal.code, f"{name} of {about}: {refusal}")

    def _check_can_be_written(self) -> None:
        if not self.can_be_written:
            raise Refusal(
                RejectionCode.FAILED_PRECONDITION,
                "the workers write the schemas of an earlier release (HALTER_SCHEMAS), which cannot say so: end the "
                "upgrade first",
            )

    def _check_repeat(self, command: OperatorCommand) -> None:
        if command.command_id is None:
            return
        if command.command_id in self.command_ids:
            raise Refusal(RejectionCode.ALREADY_EXISTS, f"command id {command.command_id!r} was decided before")
        self.command_ids.append(command.command_id)
        del self.command_ids[:-COMMAND_IDS_REMEMBERED]

    def _skip(self, command: SkipRecord, offsets: Mapping[str, int]) -> SkipAccepted:
        topic, offset = command.topic, command.offset
        if topic not in self.inputs:
            known = ", ".join(sorted(self.inputs))
            raise Refusal(
                RejectionCode.INVALID_ARGUMENT,
                f"expected one of {known}, which are the inputs of partition {command.partition}, found {topic!r}",
            )
        time_ms = command.timestamp_ms
        if time_ms is None:
            raise Refusal(
                RejectionCode.INVALID_ARGUMENT,
                "expected the time of the record (timestamp_ms), found none: another record may have this offset",
            )
        skip, following = self._skip_of(command), offsets.get(topic, 0)
        if offset < following:
            if skip is None:
                raise Refusal(
                    RejectionCode.FAILED_PRECONDITION, f"it is folded already: the next offset to fold is {following}"
                )
            self.skips.remove(skip)
        elif topic == OPERATOR_COMMANDS:
            raise Refusal(
                RejectionCode.FAILED_PRECONDITION,
                f"expected an operator command that came before this one, which is at offset {following - 1}: there "
                "was no other yet",
            )
        elif skip is not None:
            raise Refusal(RejectionCode.ALREADY_EXISTS, "it is to be skipped already")
        elif len(self.skips) >= self.limits.skips:
            raise Refusal(RejectionCode.RESOURCE_EXHAUSTED, f"{len(self.skips)} records are to be skipped already")
        else:
            self.skips.append(_pending(command, time_ms))
        return SkipAccepted(topic, command.partition, offset, time_ms, command.reason, command.operator)


def can_be_operated(codec: Codec) -> bool:
    """Return True if rows can say what operators ask for. During an upgrade those of an earlier release may not."""
    return codec.writes(FoldPosition.__name__, "operator_command_ids")


def what_came(record: InputRecord) -> str:
    """Return the reason why a skip lapses at a record, for people."""
    time = iso_of(Timestamp(record.timestamp_ms))
    return f"the next record is {record.topic}[{record.partition}]@{record.offset} of {time}"


def _address(skip: PendingSkip | SkipRecord) -> tuple[str, int, int | None]:
    return skip.topic, skip.offset, skip.timestamp_ms


def _is(skip: PendingSkip, record: InputRecord) -> bool:
    return _address(skip) == (record.topic, record.offset, record.timestamp_ms)


def _pending(command: SkipRecord, time_ms: int) -> PendingSkip:
    return PendingSkip(command.topic, command.offset, time_ms, command.reason, command.operator)


def _check_whole(broken: HalterError | None) -> None:
    """Refuse a release while rows are broken, because it decides inputs. Raises Refusal."""
    if broken is not None:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"expected rows that can be read, found {broken}; it stays in quarantine, and the row as it is: have it "
            "written again as it was, or run the release that wrote it, then start the workers again and release it",
        )
