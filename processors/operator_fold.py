"""What operators ask of a partition: to keep the inputs of a WfRun, to decide them again, to pass over a record.

The shard folds these commands before its other inputs, so that they get past the record that breaks a rule. Knows what
is to be skipped and which commands were decided before; both are part of the partition's FoldPosition.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from processors.core.commands import OperatorCommand, QuarantineWfRun, ReleaseWfRun, SkipRecord
from processors.core.context import Limits
from processors.core.decide import Refusal
from processors.core.events import Event, Rejected, RejectionCode, SkipAccepted
from processors.core.evolve import COMMAND_IDS_REMEMBERED
from processors.core.model import WfRun
from processors.core.quarantine import quarantined, released
from processors.errors import HalterError
from processors.fold_position import PendingSkip
from processors.inputs import OPERATOR_COMMANDS, InputRecord


@dataclass(slots=True)
class OperatorFold:
    """Decides the operator commands of one partition. `inputs`: the topics whose records it can have skipped."""

    inputs: Collection[str]
    limits: Limits
    can_be_written: bool = True
    """Whether the state can say what operators ask for: that of an earlier release, during an upgrade, cannot."""
    skips: list[PendingSkip] = field(default_factory=list)
    """What is to be skipped; and operator commands that were, for a SkipRecord that comes after them: those have an
    offset that is folded.
    """
    command_ids: list[str] = field(default_factory=list)
    _coming: dict[int, SkipRecord] = field(default_factory=dict)
    """Offset of an operator command that is to be skipped -> the command that says so, which comes after it."""

    def see_coming(self, skip: SkipRecord, offset: int, offsets: Mapping[str, int]) -> None:
        """Take note of a SkipRecord ahead of its turn, if what it is about is an operator command before it.

        `offset`: its own; `offsets`: what is folded next of each input.
        """
        is_before_it = skip.topic == OPERATOR_COMMANDS and offsets.get(skip.topic, 0) <= skip.offset < offset
        if is_before_it and self.can_be_written:
            self._coming.setdefault(skip.offset, skip)

    def skip_of(self, record: InputRecord, offsets: Mapping[str, int]) -> PendingSkip | None:
        """Return who wants a record passed over, once; None if nobody does. `offsets`: what is folded next."""
        if not self.skips and not self._coming:
            return None
        found, following = None, offsets.get(record.topic, 0)
        for skip in list(self.skips):
            if skip.topic == record.topic and following <= skip.offset <= record.offset:
                # One with a lower offset was meant for an offset at which there is no record.
                self.skips.remove(skip)
                found = skip if skip.offset == record.offset else found
        if found is None and record.topic == OPERATOR_COMMANDS:
            return self._skip_that_comes(record.offset)
        return found

    def _skip_that_comes(self, offset: int) -> PendingSkip | None:
        coming = self._coming.pop(offset, None)
        for missed in [it for it in self._coming if it < offset]:
            del self._coming[missed]  # there was no record at that offset
        if coming is None:
            return None
        skip = PendingSkip(coming.topic, coming.offset, coming.reason, coming.operator)
        self.skips.append(skip)  # so that whoever folds the SkipRecord, also after a crash, knows what it has done
        return skip

    def passed_over(self, command: SkipRecord, offsets: Mapping[str, int]) -> None:
        """A SkipRecord was skipped itself, or refused: nobody comes for what it had passed over."""
        skip = self._skip_of(command)
        if skip is not None and skip.offset < offsets.get(skip.topic, 0):
            self.skips.remove(skip)

    def _skip_of(self, command: SkipRecord) -> PendingSkip | None:
        place = command.topic, command.offset
        return next((skip for skip in self.skips if (skip.topic, skip.offset) == place), None)

    def decide(
        self,
        command: OperatorCommand,
        run: WfRun,
        time_ms: int,
        offsets: Mapping[str, int],
        broken: HalterError | None = None,
    ) -> Event:
        """Return what comes of a command. `run`: of its WfRun; `offsets`: what is folded next of each input; `broken`:
        what keeps the WfRun from being read as a whole.
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
        skip, is_folded = self._skip_of(command), offset < offsets.get(topic, 0)
        if is_folded and skip is not None:
            self.skips.remove(skip)
        elif is_folded:
            raise Refusal(
                RejectionCode.FAILED_PRECONDITION,
                f"it is folded already: the next offset to fold is {offsets.get(topic, 0)}",
            )
        elif skip is not None:
            raise Refusal(RejectionCode.ALREADY_EXISTS, "it is to be skipped already")
        elif len(self.skips) >= self.limits.skips:
            raise Refusal(RejectionCode.RESOURCE_EXHAUSTED, f"{len(self.skips)} records are to be skipped already")
        else:
            self.skips.append(PendingSkip(topic, offset, command.reason, command.operator))
        return SkipAccepted(topic, command.partition, offset, command.reason, command.operator)


def _check_whole(broken: HalterError | None) -> None:
    """A release decides inputs, which nobody can while rows are broken. Raises Refusal."""
    if broken is not None:
        raise Refusal(
            RejectionCode.FAILED_PRECONDITION,
            f"expected rows that can be read, found {broken}; it stays in quarantine, and the row as it is: have it "
            "written again as it was, or run the release that wrote it, then start the workers again and release it",
        )
