"""What the Kafka thread does, turn after turn.

A turn: poll records, fix one position of `definitions`, fold the records of all shards (the agents do, in the event
loop), and write outputs, due timers and offsets in one transaction, which begins with the first outputs. `next`
commits the turn that was folded and begins another. Records that a turn had no time for come first in the next.
Nothing of a turn starts before the one before it was committed or aborted; the group's callbacks
come out of poll alone and so never meet an open transaction.

After an abort the folds of that turn are ahead of Kafka: they are dropped, and their shards loaded anew.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from processors.codec.registry import RegistryUnavailable
from processors.core.records.topic_names import DEFINITION_COMMANDS, OPERATOR_COMMANDS
from processors.fold.contract import InputRecord, OutputRecord, ReadInput
from processors.fold.inputs import HEADER_PREFIX, INPUT_TOPICS, Headers
from processors.runtime.group.calls import KafkaCalls
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.errors import FoldFailed, OutOfOrder, PositionLost, TurnCannotCommit, in_short
from processors.runtime.group.membership import Membership, NotAMember
from processors.runtime.group.names import Place, ShardTopics
from processors.runtime.group.readiness import Readiness, State
from processors.runtime.group.steps import Step, Steps
from processors.runtime.group.transaction import Transaction
from processors.runtime.loading.definitions import WAIT_SECONDS, DefinitionsReader
from processors.runtime.loading.vacancies import Vacancies
from processors.runtime.turn.pauses import Pause
from processors.runtime.turn.shards import OwnedShard, Shards

IDLE_SECONDS: Final = 0.25
LOADING_SECONDS: Final = 0.005
JOINING_SECONDS: Final = 0.02
"""A poll goes on after the group has given shards in it, and their loads wait for its end."""
LOAD_SLICE_SECONDS: Final = 0.05
TIMERS_PER_TURN: Final = 1_000
CAUTIOUS_TURNS: Final = 100
"""So many turns after a start or an abort no transaction is begun before all is folded. Later, what one shard's records
came to is on its way while the next shard is folded: quicker, but a fold that takes longer than transaction.timeout.ms
then costs the worker its life, and would do so again and again if it came that soon after each start."""
SILENCE_SECONDS: Final = 5.0
"""After so long without a record or a commit Kafka is asked whether it is there: a poll that gives nothing does not say
so, and a worker whose brokers are gone must not be called ready."""
BREATH_SECONDS: Final = 0.002
BREATH_PER_SHARD_SECONDS: Final = 0.002
BREATH_MAX_SECONDS: Final = 0.02
"""No transaction begins sooner after a commit than the first and, for each shard that it touched, the second. One that
begins while the broker still writes the marks of the one before is put off by librdkafka for 20 ms. A worker that is
idle or busy does not notice it: what is polled and folded meanwhile takes as long."""


DEFINITION_SHARD: Final = 0
UNREAD_MAX: Final = 3
"""So many records that are being read, or wait for those that are, are kept at hand."""

QUARANTINED: Final = INPUT_TOPICS.keys() - {DEFINITION_COMMANDS, OPERATOR_COMMANDS}
"""The inputs of which a quarantine keeps what is for a WfRun."""
UNREADABLE_HEADERS: Final[Headers] = ((f"{HEADER_PREFIX}headers_unreadable", b"a name is not UTF-8"),)
"""Stands for the headers of a record that the client cannot read: they are in the input topic alone."""


@dataclass(slots=True)
class Figures:
    """What this worker did since its start. Seconds are spent in polling, folding and committing."""

    turns: int = 0
    records: int = 0
    outputs: int = 0
    timers: int = 0
    aborts: int = 0
    pauses: int = 0
    poll_s: float = 0.0
    fold_s: float = 0.0
    commit_s: float = 0.0
    commits: deque[float] = field(default_factory=lambda: deque(maxlen=1_000))
    """Seconds that each of the latest commits took."""

    def as_dict(self) -> dict[str, float]:
        """Return them for a log line."""
        totals = {name: round(getattr(self, name), 3) for name in self.__slots__ if name != "commits"}
        return {**totals, "commit_ms_p50": round(1_000 * median(self.commits or [0.0]), 1)}


@dataclass(slots=True)
class Turn:
    """The records of one turn by shard, and the timers that it fires. `folded`: how many of the records were;
    `broken`: shards of which nothing is, because a rule broke; `slow`: shards that fold one record in a turn;
    `outputs`: what shards' records came to and the transaction has not been handed yet.
    """

    records: dict[OwnedShard, list[ReadInput]]
    timers: dict[OwnedShard, Sequence[OutputRecord]]
    slow: frozenset[OwnedShard] = frozenset()
    outputs: list[Sequence[OutputRecord]] = field(default_factory=list)
    folded: dict[OwnedShard, int] = field(default_factory=dict)
    broken: dict[OwnedShard, FoldFailed] = field(default_factory=dict)

    def one_at_a_time(self, shard: OwnedShard) -> bool:
        """Whether only one record of a shard is to be folded."""
        return shard in self.slow

    def leave_out_the_broken(self) -> None:
        """Take out of the turn what cannot be committed."""
        for shard in self.broken:
            self.records.pop(shard, None)
            self.timers.pop(shard, None)

    @property
    def shards(self) -> Iterable[OwnedShard]:
        """All shards that the turn touches."""
        return {**self.records, **self.timers}.keys()

    @property
    def left(self) -> dict[OwnedShard, list[ReadInput]]:
        """The records that there was no time for."""
        return {shard: left for shard, records in self.records.items() if (left := records[self.folded[shard] :])}


@dataclass(slots=True)
class Waiting:
    """The records of a shard that wait for a position of `definitions`, until a time."""

    records: list[ReadInput]
    position: int
    until: float


@dataclass(slots=True)
class TurnSize:
    """How many records a turn may take: as many as are folded in about `aim_s`.

    A transaction must end before its time-out, and what comes first waits for what comes last.
    """

    records: int = 64
    least: int = 16
    most: int = 4_000
    aim_s: float = 0.5

    def folded(self, records: int, seconds: float) -> None:
        """Learn from a turn."""
        if seconds > 2 * self.aim_s:
            self.records = max(self.least, min(self.most, int(records * self.aim_s / seconds)))
        elif records >= self.records and seconds < self.aim_s:
            self.records = min(self.most, self.records * 2)


@dataclass(slots=True)
class Patience:
    """How often things may go wrong without one going right in between.

    A worker that has nothing to fold commits nothing, so failures that lie far apart are not counted together.
    """

    failures_max: int = 12
    forget_after_s: float = 300.0
    clock: Clock = CLOCK
    failures: int = field(default=0, init=False)
    _failed_at: float = field(default=float("-inf"), init=False)

    def lost(self, reason: str) -> None:
        """Count a failure and wait a little longer than after the one before. Raises TurnCannotCommit."""
        now = self.clock.monotonic()
        if now - self._failed_at > self.forget_after_s:
            self.failures = 0
        self._failed_at = now
        self.failures += 1
        if self.failures > self.failures_max:
            raise TurnCannotCommit(f"gave up after {self.failures} failures in a row, the last one: {reason}")
        if self.failures > 2:
            self.clock.sleep(min(2.0, 0.05 * 2**self.failures))

    def regained(self) -> None:
        """Forget failures: something went right."""
        self.failures = 0


class Turns:
    """Commits turns and begins new ones. All methods run in the Kafka thread."""

    def __init__(
        self,
        *,
        names: ShardTopics,
        membership: Membership,
        shards: Shards,
        transaction: Transaction,
        definitions: DefinitionsReader,
        calls: KafkaCalls,
        readiness: Readiness,
        steps: Steps,
        vacancies: Vacancies,
        clock: Clock = CLOCK,
    ) -> None:
        self._vacancies = vacancies
        self._names, self._membership, self._shards = names, membership, shards
        self._definition_commands: Place = (names.on_cluster(DEFINITION_COMMANDS), DEFINITION_SHARD)
        self._transaction, self._definitions = transaction, definitions
        self._calls, self._readiness, self._steps, self._clock = calls, readiness, steps, clock
        self._log = structlog.get_logger("halter.runtime")
        self._patience = Patience(clock=clock)
        self._breathe_until = 0.0
        self._heard_at = clock.monotonic()
        self._broken: KafkaException | None = None
        self._told_of_headers = False
        self._left: dict[OwnedShard, list[ReadInput]] = {}
        self._unread: dict[OwnedShard, list[ReadInput]] = {}
        self._waiting: dict[OwnedShard, Waiting] = {}
        self._fetched_later: dict[OwnedShard, int] = {}
        """The offset of `definition-commands` from which on a shard has to be fetched again."""
        self._turns_gone_well = 0
        self.size = TurnSize()
        self.figures = Figures()

    @property
    def cautious(self) -> bool:
        """Whether all of a turn is to be folded before any of it is handed to the transaction."""
        return self._turns_gone_well < CAUTIOUS_TURNS

    def open(self) -> None:
        """Make the clients, read the definitions, begin to join."""
        self._transaction.open()
        self._definitions.open()
        self._readiness.lives(State.JOINING)
        self._membership.join()
        self._vacancies.look()

    def next(self, folded: Turn | None) -> Turn | None:
        """Commit the turn that was folded, then begin another. Returns None if there is nothing to fold.

        Raises HalterError when the worker has to end.
        """
        if folded is not None:
            self._finish(folded)
        if self._calls.stopping.is_set():
            return None
        try:
            self._go_on()
            self._shards.drive(LOAD_SLICE_SECONDS)
            self._vacancies.drive()
            self._definitions.catch_up()
            self._fetch_what_is_wanted()
            polled = self._poll()
            self._listen(polled)
            reads = self._with_definitions(polled)
        except (KafkaException, NotAMember) as exception:
            self._rejoin(exception)
            return None
        timers = self._due_timers()
        records = self._without_unread(self._admitted(self._with_left(reads)))
        if not records and not timers:
            return None
        self._steps.reached(Step.AFTER_POLL)
        slow = {shard for shard in records if (pause := self._shards.pause_of(shard)) and pause.one_at_a_time}
        return Turn(records, timers, frozenset(slow))

    def hand_over(self, turn: Turn) -> None:
        """Hand to the transaction what the records came to so far."""
        outputs, turn.outputs = turn.outputs, []
        for of_shard in outputs:
            self._produce(of_shard)

    def _produce(self, outputs: Sequence[OutputRecord]) -> None:
        if self._broken is not None:
            return
        try:
            if not self._transaction.is_open:
                self._breathe()
                self._transaction.begin()
                self._steps.reached(Step.AFTER_BEGIN)
            self._transaction.produce(outputs)
        except KafkaException as exception:
            # Found out in the middle of a turn that goes on elsewhere: its end will be an abort.
            self._broken = exception
        self.figures.outputs += len(outputs)

    def _breathe(self) -> None:
        wait_seconds = self._breathe_until - self._clock.monotonic()
        if wait_seconds > 0:
            self._clock.sleep(wait_seconds)

    def close(self) -> None:
        """Abort what is open, leave the group."""
        try:
            self._transaction.close()
        except Exception as exception:  # noqa: BLE001  the broker will abort it when its time is over
            self._log.warning("abort_failed", reason=str(exception))
        self._calls.once(self._membership.leave)
        self._definitions.close()

    # Committing.

    def _finish(self, turn: Turn) -> None:
        begun = self._clock.monotonic()
        turn.leave_out_the_broken()
        self._commit(turn, begun)
        for shard, failure in turn.broken.items():
            self._pause(shard, failure)

    def _commit(self, turn: Turn, begun: float) -> None:
        if not turn.shards and not self._transaction.is_open:
            return
        for shard, records in turn.records.items():
            advance(shard, [read.record for read in records[: turn.folded[shard]]])
        self._left = turn.left
        self.hand_over(turn)
        for outputs in turn.timers.values():
            self._produce(outputs)
            self.figures.timers += len(outputs)
        self._steps.reached(Step.AFTER_PRODUCE)
        offsets = {self._names.commands(shard.number): shard.commands_offset for shard in turn.shards}
        try:
            if self._broken is not None:
                raise self._broken
            self._transaction.commit(offsets)
        except (KafkaException, NotAMember) as exception:
            self._abort(turn, exception)
        else:
            for shard in turn.shards:
                shard.fold.committed()
                if (pause := self._shards.pause_of(shard)) is not None:
                    folded = turn.records.get(shard, [])[: turn.folded.get(shard, 0)]
                    pause.committed([read.record for read in folded])
            self._shards.count_quarantined()
            self._patience.regained()
            self._turns_gone_well += 1
            self.figures.turns += 1
            self.figures.records += sum(turn.folded.values())
            seconds = self._clock.monotonic() - begun
            self.figures.commit_s += seconds
            self.figures.commits.append(seconds)
            self._heard_at = self._clock.monotonic()
            breath = BREATH_SECONDS + BREATH_PER_SHARD_SECONDS * len(set(turn.shards))
            self._breathe_until = self._heard_at + min(BREATH_MAX_SECONDS, breath)

    def _abort(self, turn: Turn, exception: KafkaException | NotAMember) -> None:
        """Undo a turn that cannot commit, and load anew what its fold has touched.

        Most often a rebalance has given the group a new generation while the turn was folded: the shards are still
        ours. If they are not, the group takes them away at the next poll.
        """
        reason = why(exception)
        self._broken = None
        self._turns_gone_well = 0
        self.figures.aborts += 1
        self._log.warning("turn_aborted", reason=reason, shards=sorted(shard.number for shard in turn.shards))
        self._transaction.abort()
        self._shards.reload(turn.shards)
        self._patience.lost(reason)

    def _rejoin(self, exception: KafkaException | NotAMember) -> None:
        """Forget everything and begin anew, or raise what ends the worker."""
        if isinstance(exception, KafkaException):
            raise_if_position_lost(exception)
        reason = why(exception)
        self._log.warning("rejoining", reason=reason)
        self._shards.forget_all()
        self._calls.once(self._membership.leave)
        self._patience.lost(reason)
        self._readiness.lives(State.JOINING)
        self._membership.join()
        self._vacancies.look()

    # Pausing.

    def _pause(self, shard: OwnedShard, failure: FoldFailed) -> None:
        """A rule broke: say so, once for each time it is tried, and load the shard anew. The worker goes on."""
        if not self._shards.has(shard):
            return  # taken, or loaded anew for another reason: it will break again
        if isinstance(failure.__cause__, RegistryUnavailable):
            self._put_off(shard, failure.__cause__)
            return
        pause = self._shards.pause(shard)
        record = pause.broke(failure.record, failure.records)
        self.figures.pauses += 1
        self._left.pop(shard, None)
        self._log.debug("broke_there", exc_info=failure)
        if record is None and failure.records:
            pause.sentence = f"{failure}; which record it is, is being looked for"
            self._log.warning("rule_broke", partition=shard.number, reason=pause.sentence)
        elif record is None:
            pause.sentence = f"{failure}"
            self._log.error(
                "partition_paused",
                partition=shard.number,
                reason=pause.sentence,
                to_go_on="mend the rule and start the workers again",
            )
        else:
            self._say_where_it_stands(pause, record, failure.reason)
        self._shards.report()

    def _say_where_it_stands(self, pause: Pause, record: InputRecord, reason: str) -> None:
        about, command = self._names.describe(record)
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        pause.sentence = f"{where}, {command or 'a record'} for {about or 'nobody'}: {reason}"
        skip = f"`halter skip {record.topic} {record.partition} {record.offset}` passes over this one record"
        keep = (
            f"`halter quarantine {about}` keeps what comes for {about} and lets the rest go on, "
            f"`halter release {about}` decides it once the rule is mended; "
        )
        self._log.error(
            "partition_paused",
            partition=record.partition,
            record=where,
            wf_run=about,
            command=command,
            reason=reason,
            to_go_on=(keep if about is not None and record.topic in QUARANTINED else "") + skip,
        )

    def _go_on(self) -> None:
        for shard in self._shards.owned:
            pause = self._shards.pause_of(shard)
            if pause is not None and pause.to_be_fetched_anew:
                self._left.pop(shard, None)
        for number in self._shards.end_pauses():
            self._log.info("partition_goes_on", partition=number)

    def _admitted(self, records: dict[OwnedShard, list[ReadInput]]) -> dict[OwnedShard, list[ReadInput]]:
        """Put the operator commands of a turn before all else, and leave out what a pause does not admit."""
        for of_shard in records.values():
            if any(read.record.topic == OPERATOR_COMMANDS for read in of_shard):
                of_shard.sort(key=lambda read: read.record.topic != OPERATOR_COMMANDS)
        if not self._shards.paused:
            return records
        records = {shard: of_shard for shard, of_shard in records.items() if self._shards.has(shard)}
        for shard in self._shards.owned:
            pause = self._shards.pause_of(shard)
            if pause is not None:
                records[shard] = pause.admit(records.get(shard, []))
                self._shards.fetch_less(shard, pause)
        return {shard: of_shard for shard, of_shard in records.items() if of_shard}

    # Beginning.

    def _poll(self) -> dict[OwnedShard, list[InputRecord]]:
        begun = self._clock.monotonic()
        poll, at = self._membership.poll, self._shards.at
        polled: dict[OwnedShard, list[InputRecord]] = {}
        left = sum(map(len, self._left.values()))
        wait_seconds = 0.0 if left else self._wait_seconds()
        for _ in range(max(1, self.size.records - left)):
            message = poll(wait_seconds)
            if message is None:
                break
            wait_seconds = 0.0
            partition: int = message.partition()  # type: ignore[assignment]  # records of topics have one
            found = at(message.topic(), partition)  # type: ignore[arg-type]  # as above
            # None: it was on its way when its shard was taken. Who owns the shard gets it from its offset on.
            if found is not None:
                shard, logical = found
                record = as_input(message, logical, partition)
                if record.headers is UNREADABLE_HEADERS:
                    self._headers_unreadable(record)
                polled.setdefault(shard, []).append(record)
        self.figures.poll_s += self._clock.monotonic() - begun
        # A callback within these polls may have taken a shard whose records we already hold.
        return {shard: records for shard, records in polled.items() if self._shards.has(shard)}

    def _listen(self, polled: Mapping[OwnedShard, object]) -> None:
        """See that Kafka is there, if nothing else has shown it lately."""
        now = self._clock.monotonic()
        if polled:
            self._heard_at = now
        elif now - self._heard_at > SILENCE_SECONDS and not self._shards.loading:
            # While it is not there, it is asked at each turn: the group's callbacks come out of the polls in between.
            was_away = self._calls.away
            if self._calls.answers(self._membership.ask):
                self._heard_at = self._clock.monotonic()
                if was_away:
                    self._transaction.renew()

    def _with_left(self, polled: dict[OwnedShard, list[ReadInput]]) -> dict[OwnedShard, list[ReadInput]]:
        """Put the records that the last turn had no time for before those that were polled.

        Not those of a shard that was taken or loaded anew since: whoever folds it gets them again.
        """
        left, self._left = self._left, {}
        unread, self._unread = self._unread, {}
        records: dict[OwnedShard, list[ReadInput]] = {}
        for some in (left, unread, polled):
            for shard, of_shard in some.items():
                if self._shards.has(shard):
                    records.setdefault(shard, []).extend(of_shard)
        return records

    def _without_unread(self, records: dict[OwnedShard, list[ReadInput]]) -> dict[OwnedShard, list[ReadInput]]:
        """Leave out what has to be read before it can be folded without holding up the rest; it comes again.

        Not from a shard that is paused, which is given records one by one, and must meet the one that broke.
        """
        for shard, of_shard in records.items():
            if shard.number != DEFINITION_SHARD or self._shards.pause_of(shard) is not None:
                continue
            unread = list(shard.fold.undecided(of_shard))
            if unread:
                later = {read.record[:3] for read in unread}
                records[shard] = [read for read in of_shard if read.record[:3] not in later]
                self._keep_unread(shard, unread)
        return {shard: of_shard for shard, of_shard in records.items() if of_shard}

    def _keep_unread(self, shard: OwnedShard, unread: list[ReadInput]) -> None:
        """Keep a few; the others are fetched again later, so that memory does not grow with what others post."""
        self._unread[shard] = unread[:UNREAD_MAX]
        if len(unread) > UNREAD_MAX:
            self._fetched_later[shard] = unread[UNREAD_MAX].record.offset

    def _fetch_what_is_wanted(self) -> None:
        """Fetch no `definition-commands` while there are more at hand than are kept, and then from there on."""
        for shard, offset in list(self._fetched_later.items()):
            if not self._shards.has(shard):
                del self._fetched_later[shard]  # whoever folds it begins where it stands
            elif shard in self._unread:
                self._membership.unassign([self._definition_commands])
            else:
                del self._fetched_later[shard]
                self._membership.assign({self._definition_commands: offset})

    def _headers_unreadable(self, record: InputRecord) -> None:
        """Say so, once for all such records of this worker."""
        if not self._told_of_headers:
            self._told_of_headers = True
            where = f"{record.topic}[{record.partition}]@{record.offset}"
            self._log.warning("headers_unreadable", record=where, reason="a header's name is not UTF-8")

    def _wait_seconds(self) -> float:
        if self._shards.loading or self._unread or self._waiting:
            return LOADING_SECONDS
        if not self._shards.owned:
            return JOINING_SECONDS
        timers = [
            time_ms
            for shard in self._shards.owned
            if self._fires_timers(shard) and (time_ms := self._next_timer_ms(shard)) is not None
        ]
        if not timers:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(0.0, (min(timers) - self._clock.now_ms()) / 1_000))

    def _due_timers(self) -> dict[OwnedShard, Sequence[OutputRecord]]:
        now_ms, left = self._clock.now_ms(), TIMERS_PER_TURN
        due: dict[OwnedShard, Sequence[OutputRecord]] = {}
        for shard in list(self._shards.owned):
            if left <= 0 or not self._fires_timers(shard):
                continue
            try:
                timers = shard.fold.due_timers(now_ms, left)
            except Exception as error:  # noqa: BLE001  a bug of a rule is the partition's, not the worker's
                reason = in_short(error)
                failure = FoldFailed(f"the timers of partition {shard.number} cannot be fired: {reason}", reason=reason)
                failure.__cause__ = error
                self._pause(shard, failure)
                continue
            if (pause := self._shards.pause_of(shard)) is not None:
                pause.timers_fine()
            if timers:
                due[shard] = timers
                left -= len(timers)
        return due

    def _fires_timers(self, shard: OwnedShard) -> bool:
        pause = self._shards.pause_of(shard)
        return pause is None or pause.fires_timers

    @staticmethod
    def _next_timer_ms(shard: OwnedShard) -> int | None:
        try:
            return shard.fold.next_timer_ms()
        except Exception:  # noqa: BLE001  firing them will say what is wrong
            return None

    def _with_definitions(self, polled: dict[OwnedShard, list[InputRecord]]) -> dict[OwnedShard, list[ReadInput]]:
        """Leave out the records of shards that wait for definitions which producers saw; add those that need no longer.

        They wait for a bounded time: the fold then sees a position below the one required and rejects the command.
        """
        read_of: dict[OwnedShard, list[ReadInput]] = {}
        for shard, records in polled.items():
            try:
                reads = [read(shard, record) for record in records]
            except RegistryUnavailable as unavailable:
                self._put_off(shard, unavailable)
                continue
            read_of[shard] = reads
            required = max(read.definitions_position for read in reads)
            waiting = self._waiting.get(shard)
            if required > self._definitions.position and not self._definitions.will_come_to(required):
                required = 0
            if waiting is not None:
                waiting.records += reads
                waiting.position = max(waiting.position, required)
            elif required > self._definitions.position:
                self._waiting[shard] = Waiting(reads, required, self._clock.monotonic() + WAIT_SECONDS)
        ready = {shard: reads for shard, reads in read_of.items() if shard not in self._waiting}
        for shard in [shard for shard, waiting in self._waiting.items() if self._is_over(shard, waiting)]:
            ready[shard] = self._waiting.pop(shard).records
        return {shard: records for shard, records in ready.items() if self._shards.has(shard)}

    def _is_over(self, shard: OwnedShard, waiting: Waiting) -> bool:
        position = self._definitions.position
        if position >= waiting.position or not self._shards.has(shard):
            return True
        if self._clock.monotonic() < waiting.until:
            return False
        self._log.warning("definitions_behind", required=waiting.position, position=position, waited_s=WAIT_SECONDS)
        return True

    def _put_off(self, shard: OwnedShard, unavailable: RegistryUnavailable) -> None:
        """Try a shard's records again later, from where it stands. Raises TurnCannotCommit when it has waited for long.

        Nothing is wrong with the records and no rule broke: neither a pause nor an operator helps.
        """
        self._log.warning("waiting_for_registry", partition=shard.number, reason=str(unavailable))
        self._left.pop(shard, None)
        self._shards.reload([shard])
        self._patience.lost(str(unavailable))


def read(shard: OwnedShard, record: InputRecord) -> ReadInput:
    """Return a record with what it holds. Raises RegistryUnavailable. What else breaks here breaks its fold as well."""
    try:
        found = shard.fold.read(record)
        if record.topic == OPERATOR_COMMANDS:
            shard.fold.see_coming(found)
    except RegistryUnavailable:
        raise
    except Exception:  # noqa: BLE001  the fold will say what is wrong
        return ReadInput(record)
    return found


def as_input(message: Message, topic: str, partition: int) -> InputRecord:
    """Return a message as folds take it: with UNREADABLE_HEADERS if the client cannot read them."""
    return InputRecord(
        topic,
        partition,
        message.offset(),  # type: ignore[arg-type]  # a record that was read has one
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )


def headers_of(message: Message) -> Headers:
    """Return a message's headers. They are not ours to judge: what has bad ones is folded all the same."""
    try:
        headers: list[tuple[str, bytes | None]] = message.headers()  # type: ignore[assignment]  # read as a list
    except (SystemError, UnicodeError):
        # To Kafka a header's name is bytes; confluent_kafka knows UTF-8 only. Never ask twice: the second answer
        # has a null pointer in it.
        return UNREADABLE_HEADERS
    return tuple((name, value or b"") for name, value in headers) if headers else ()


def advance(shard: OwnedShard, records: Sequence[InputRecord]) -> None:
    """Move a shard past the records that it folded. Raises OutOfOrder if one came twice or the fold lost count."""
    offsets = shard.next_offsets
    for record in records:
        if record.offset < offsets[record.topic]:
            raise OutOfOrder(
                f"{record.topic}[{record.partition}]: expected offset {offsets[record.topic]} or a later one, found "
                f"{record.offset}: it was folded before"
            )
        offsets[record.topic] = record.offset + 1
    for topic, offset in offsets.items():
        if shard.fold.offsets.get(topic, offset) != offset:
            raise OutOfOrder(
                f"{topic}[{shard.number}]: expected the fold to stand at offset {offset}, found it at "
                f"{shard.fold.offsets[topic]}"
            )


def why(exception: KafkaException | NotAMember) -> str:
    """Return the reason in one line."""
    if isinstance(exception, NotAMember):
        return str(exception)
    return f"{exception.args[0].name()}: {exception.args[0].str()}"


def raise_if_position_lost(exception: KafkaException) -> None:
    """Raise what ends the worker, because joining anew would not help."""
    error = exception.args[0]
    if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
        raise PositionLost(f"the next record to fold was deleted before it was read: {error.str()}") from exception
