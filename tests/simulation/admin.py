"""An AdminClient over the simulated broker: the three questions that the runtime asks.

Every partition is asked for in a request of its own, so that one answer may be older than another.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from tests.simulation.broker import Broker
from tests.simulation.errors import error, timed_out
from tests.simulation.group import GroupState
from tests.simulation.partition_log import Place
from tests.simulation.process import Kind, Process

NO_OFFSET: Final = -1001
STATES: Final = {
    GroupState.EMPTY: ConsumerGroupState.EMPTY,
    GroupState.PREPARING: ConsumerGroupState.PREPARING_REBALANCING,
    GroupState.COMPLETING: ConsumerGroupState.COMPLETING_REBALANCING,
    GroupState.STABLE: ConsumerGroupState.STABLE,
}


@dataclass(frozen=True, slots=True)
class OffsetResult:
    """Of list_offsets."""

    offset: int
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """Of list_consumer_group_offsets: a TopicPartition's `error` cannot be set from Python."""

    topic: str
    partition: int
    offset: int
    metadata: str | None
    error: KafkaError | None


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Of list_consumer_group_offsets."""

    topic_partitions: list[PartitionResult]


@dataclass(frozen=True, slots=True)
class AssignmentResult:
    """Of describe_consumer_groups."""

    topic_partitions: list[TopicPartition]


@dataclass(frozen=True, slots=True)
class MemberResult:
    """Of describe_consumer_groups."""

    client_id: str
    assignment: AssignmentResult


@dataclass(frozen=True, slots=True)
class DescriptionResult:
    """Of describe_consumer_groups."""

    members: list[MemberResult]
    state: ConsumerGroupState


class SimulatedAdmin:
    """Asks without waiting: answers are futures."""

    def __init__(self, process: Process, broker: Broker) -> None:
        self._process, self._broker = process, broker

    def list_offsets(
        self, request: Mapping[TopicPartition, Any], isolation_level: IsolationLevel, request_timeout: float
    ) -> dict[TopicPartition, "Future[OffsetResult]"]:
        struck = self._process.pause_point("list_offsets")
        committed = isolation_level == IsolationLevel.READ_COMMITTED

        def ask(place: Place, spec: str) -> Callable[[], OffsetResult]:
            def answer() -> OffsetResult:
                log = self._broker.log(place)
                if struck is Kind.REFUSED and place[1] == 0:
                    # As seen of brokers that are dying: no offset, and no error either.
                    return OffsetResult(NO_OFFSET)
                if spec == "EarliestSpec":
                    return OffsetResult(log.low)
                return OffsetResult(log.last_stable if committed else log.high)

            return answer

        if struck is Kind.UNANSWERED:
            request_timeout = 0.0
        return {
            it: self._ask(ask((it.topic, it.partition), type(spec).__name__), request_timeout)
            for it, spec in request.items()
        }

    def list_consumer_group_offsets(
        self, request: list[ConsumerGroupTopicPartitions], require_stable: bool, request_timeout: float
    ) -> dict[str, "Future[GroupResult]"]:
        self._process.pause_point("list_consumer_group_offsets")
        group = self._broker.group(request[0].group_id)
        places = [(it.topic, it.partition) for it in request[0].topic_partitions or ()]

        def answer() -> GroupResult:
            if require_stable and any(group.offsets.is_pending(place) for place in places):
                raise KafkaException(error(KafkaError.UNSTABLE_OFFSET_COMMIT, "pending"))
            found = []
            for place in places:
                offset, metadata = group.offsets.committed.get(place, (NO_OFFSET, ""))
                found.append(PartitionResult(*place, offset, metadata, None))
            return GroupResult(found)

        return {group.name: self._ask(answer, request_timeout, group.away_until)}

    def describe_consumer_groups(
        self, group_ids: list[str], request_timeout: float
    ) -> dict[str, "Future[DescriptionResult]"]:
        self._process.pause_point("describe_consumer_groups")
        group = self._broker.group(group_ids[0])

        def answer() -> DescriptionResult:
            members = [
                MemberResult(client_id, AssignmentResult([TopicPartition(group.topic, it) for it in sorted(assigned)]))
                for client_id, assigned in group.members
            ]
            return DescriptionResult(members, STATES[group.state])

        return {group.name: self._ask(answer, request_timeout, group.away_until)}

    def _ask(self, question: Callable[[], Any], seconds: float, away_until: float = 0.0) -> "Future[Any]":
        future: Future[Any] = Future()
        late_s = self._process.write_delay()

        def arrived() -> None:
            try:
                result = question()
            except KafkaException as exception:
                problem = exception
                self._process.deliver(lambda: self._fail(future, problem))
            else:
                self._process.deliver(lambda: self._answer(future, result))

        self._process.send(arrived, late_s=late_s, away_until=away_until)
        self._process.later(seconds, lambda: self._fail(future, timed_out("an admin request")))
        return future

    @staticmethod
    def _answer(future: "Future[Any]", result: Any) -> None:
        if not future.done():
            future.set_result(result)

    @staticmethod
    def _fail(future: "Future[Any]", problem: KafkaException) -> None:
        if not future.done():
            future.set_exception(problem)
