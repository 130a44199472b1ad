"""An AdminClient over the simulated broker: the questions that the runtime asks.

Each partition is asked for in a request of its own, so one answer may be older than another.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from weakref import ref

from confluent_kafka import (
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from tests.simulation.broker import Broker
from tests.simulation.coordinators import NO_OFFSET
from tests.simulation.errors import error, timed_out
from tests.simulation.group import GroupState
from tests.simulation.partition_log import Place
from tests.simulation.process import Kind, Process

STATES: Final = {
    GroupState.EMPTY: ConsumerGroupState.EMPTY,
    GroupState.PREPARING: ConsumerGroupState.PREPARING_REBALANCING,
    GroupState.COMPLETING: ConsumerGroupState.COMPLETING_REBALANCING,
    GroupState.STABLE: ConsumerGroupState.STABLE,
}


@dataclass(frozen=True, slots=True)
class OffsetResult:
    """The result of list_offsets for a partition."""

    offset: int
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class AssignmentResult:
    """A member, as describe_consumer_groups returns it."""

    topic_partitions: list[TopicPartition]


@dataclass(frozen=True, slots=True)
class MemberResult:
    """An assignment, as describe_consumer_groups returns it."""

    client_id: str
    assignment: AssignmentResult


@dataclass(frozen=True, slots=True)
class DescriptionResult:
    """A group, as describe_consumer_groups returns it."""

    members: list[MemberResult]
    state: ConsumerGroupState


class SimulatedAdmin:
    """Asks without waiting: its answers are futures."""

    def __init__(self, process: Process, broker: Broker) -> None:
        self._process, self._broker = process, broker

    def poll(self, timeout: float) -> None:
        """Return 0: there are no callbacks to serve."""

    def list_offsets(
        self, request: Mapping[TopicPartition, Any], isolation_level: IsolationLevel, request_timeout: float
    ) -> dict[TopicPartition, "Future[OffsetResult]"]:
        struck = self._process.asks("list_offsets")
        committed = isolation_level == IsolationLevel.READ_COMMITTED

        process, broker = self._process, self._broker

        def ask(place: Place, spec: str) -> Callable[[], OffsetResult]:
            def answer() -> OffsetResult:
                log = broker.log(place)
                if struck is Kind.REFUSED and place[1] == 0:
                    raise KafkaException(error(KafkaError.NOT_LEADER_FOR_PARTITION, "simulated"))
                if process.kernel.now < log.away_until:
                    # As dying brokers answer: no offset, and no error either.
                    return OffsetResult(NO_OFFSET)
                if spec == "EarliestSpec":
                    return OffsetResult(log.low)
                return OffsetResult(log.last_stable if committed else log.high)

            return answer

        if struck is Kind.UNANSWERED:
            request_timeout = 0.0
        return {
            it: self._ask(struck, ask((it.topic, it.partition), type(spec).__name__), request_timeout)
            for it, spec in request.items()
        }

    def describe_consumer_groups(
        self, group_ids: list[str], request_timeout: float
    ) -> dict[str, "Future[DescriptionResult]"]:
        struck = self._process.asks("describe_consumer_groups")
        group = self._broker.group(group_ids[0])

        def answer() -> DescriptionResult:
            members = [
                MemberResult(client_id, AssignmentResult([TopicPartition(group.topic, it) for it in sorted(assigned)]))
                for client_id, assigned in group.members
            ]
            return DescriptionResult(members, STATES[group.state])

        return {group.name: self._ask(struck, answer, request_timeout, group.away_until)}

    def _ask(
        self, struck: Kind | None, question: Callable[[], Any], seconds: float, away_until: float = 0.0
    ) -> "Future[Any]":
        future: Future[Any] = Future()
        if struck is Kind.HANG:
            return future
        process, late_s = self._process, self._process.write_delay()
        # A client that is freed answers no more questions.
        is_there = ref(self)

        def answer(result: Any) -> None:
            if is_there() is not None and not future.done():
                future.set_result(result)

        def fail(problem: KafkaException) -> None:
            if is_there() is not None and not future.done():
                future.set_exception(problem)

        def arrived() -> None:
            try:
                result = question()
            except KafkaException as exception:
                process.deliver(partial(fail, exception))
            else:
                process.deliver(partial(answer, result))

        process.send(arrived, late_s=late_s, away_until=away_until)
        process.later(seconds, lambda: fail(timed_out("an admin request")))
        return future
