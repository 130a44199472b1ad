"""Decides the inputs of a range, and hands what comes of them to be written: outputs, then the rows of the turn.

What was written before, by a process that was killed, is decided again, because the state follows from it, and is not
written again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from halter.history.deciding import Deciding, Outcome, Row, Step
from halter.replay.bounds import InputPlace
from halter.replay.manifest import Progress
from halter.replay.ranges import CannotReplay
from processors.codec import Codec
from processors.core.records.topic_names import DEAD_LETTERS, TASK_CANCELLATIONS, TASK_REQUESTS, WF_EVENTS
from processors.core.rules.context import Limits
from processors.fold.inputs import INPUT_TOPICS
from processors.fold.outputs import OutputRecord

TURN: Final = 1_000
"""Number of inputs whose outputs are written in one transaction."""

Write = Callable[[Sequence[OutputRecord], Progress], int | None]
"""Writes records and progress in one transaction. Returns where the log ends then, if that is known and has changed."""


class Replaying(Deciding):
    """Decides one partition and has the outputs written. Implements `Decider`."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        codec: Codec,
        progress: Progress,
        log_end: int,
        write: Write,
        turn: int = TURN,
        limits: Limits | None = None,
    ) -> None:
        """`log_end`: where the replay's own log of the partition ends."""
        super().__init__(partition, partitions, codec, limits, turn)
        self.progress = progress
        self._partition, self._write = partition, write
        self._outputs: list[OutputRecord] = []
        self._is_behind = progress.after is not None
        """True while inputs are decided of which everything is written."""
        self._last: str | None = None
        self._fold.logged(log_end)

    def restore(self, topic: str, row: Row) -> None:
        """Take a row of the state from which to begin, and write it."""
        super().restore(topic, row)
        if not self.progress.has_state:
            self._outputs.append(OutputRecord(topic, self._partition, row.key, row.value))

    def decide(self, steps: Sequence[Step]) -> Sequence[Outcome]:
        """Decide the next inputs."""
        if not self.progress.has_state:
            self._commit(replace(self.progress, has_state=True))
        return super().decide(steps)

    def finish(self, found: Progress) -> None:
        """Write what is left, and what was found. Raises CannotReplay."""
        if self._is_behind:
            raise CannotReplay(
                f"expected the input {self.progress.after} in the range, where the replay was broken off, and it "
                "is gone: begin again with --replace"
            )
        self._end_turn()
        self._commit(
            replace(
                self.progress,
                done=True,
                same=found.same,
                different=found.different,
                for_instance=found.for_instance,
                left_out=found.left_out,
            )
        )

    def _came(self, step: Step, outputs: Sequence[OutputRecord]) -> None:
        record = step.record
        self._last = str(InputPlace(record.topic, record.partition, record.offset))
        if not self._is_behind:
            # What the fold tells others, such as the owners of correlation keys, is not told by a replay.
            self._outputs += (it for it in outputs if it.topic not in INPUT_TOPICS)
            self.progress = replace(self.progress, inputs=self.progress.inputs + 1)
        elif self._last == self.progress.after:
            self._end_turn()
            self._is_behind = False

    def _end_turn(self) -> Sequence[OutputRecord]:
        rows = super()._end_turn()
        if not self._is_behind:
            self._outputs += rows
            if self._outputs:
                self._commit(replace(self.progress, after=self._last))
        return rows

    def _commit(self, progress: Progress) -> None:
        topics = [it.topic for it in self._outputs]
        events, letters = topics.count(WF_EVENTS), topics.count(DEAD_LETTERS)
        requests = sum(topic.startswith(TASK_REQUESTS) for topic in topics)
        cancellations = topics.count(TASK_CANCELLATIONS)
        progress = replace(
            progress,
            events=progress.events + events,
            task_requests=progress.task_requests + requests,
            task_cancellations=progress.task_cancellations + cancellations,
            dead_letters=progress.dead_letters + letters,
            rows=progress.rows + len(topics) - events - requests - cancellations - letters,
        )
        log_end = self._write(self._outputs, progress)
        if log_end is not None:
            self._fold.logged(log_end)
        self.progress, self._outputs = progress, []
