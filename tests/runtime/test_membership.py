"""Rules of who may commit: a member that is still the one to which the group gave its shards."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from processors.runtime.group.membership import Membership, NotAMember
from processors.runtime.group.names import ShardTopics
from tests.support.counting_fold import CountingDefinitions, CountingFactory


class Consumer:
    """A consumer whose membership is changed by the test, as librdkafka does in the background."""

    def __init__(self) -> None:
        self.member_id = ""
        self.callbacks: dict[str, Any] = {}
        self.due: list[Callable[[], None]] = []
        self.is_closed = False

    def subscribe(self, _topics: list[str], **callbacks: Any) -> None:
        self.callbacks = callbacks

    def incremental_assign(self, _partitions: list[TopicPartition]) -> None:
        """Fetch nothing."""

    def incremental_unassign(self, _partitions: list[TopicPartition]) -> None:
        """Fetch nothing."""

    def poll(self, _seconds: float) -> None:
        """Nothing comes but callbacks that are due."""
        while self.due:
            self.due.pop(0)()

    def close(self) -> None:
        assert self.due == [], "closed with a callback to make"
        self.is_closed = True

    def memberid(self) -> str:
        return self.member_id

    def consumer_group_metadata(self) -> str:
        return f"metadata of {self.member_id}"


def joined() -> tuple[Membership, Consumer]:
    consumer = Consumer()

    class Clients:
        def member(self, _: object = None) -> Consumer:
            return consumer

    names = ShardTopics("", CountingFactory(CountingDefinitions()))
    membership = Membership(Clients(), names)  # type: ignore[arg-type]  # all that it is asked for
    membership.join()
    consumer.member_id = "first"
    consumer.callbacks["on_assign"](consumer, [TopicPartition("wf-commands", 0)])
    return membership, consumer


def test_a_member_may_commit_what_the_group_gave_to_it() -> None:
    membership, _ = joined()
    membership.poll(0)
    assert membership.metadata() == "metadata of first"


def test_a_member_that_joined_again_in_the_background_may_not_commit_before_its_shards_were_taken() -> None:
    """Its new generation would pass the broker's fence, though another worker owns the shards by now."""
    membership, consumer = joined()
    consumer.member_id = "second"
    membership.poll(0)
    with pytest.raises(NotAMember):
        membership.metadata()
    consumer.callbacks["on_lost"](consumer, [TopicPartition("wf-commands", 0)])
    with pytest.raises(NotAMember):
        membership.metadata()
    consumer.callbacks["on_assign"](consumer, [])
    assert membership.metadata() == "metadata of second"


def test_what_was_kept_under_another_name_is_taken_and_given_anew() -> None:
    """The group gave a static member up while it joined, and nobody has its shards when it is back: the client keeps
    them without a word. Others may have folded them in between.
    """
    membership, consumer = joined()
    heard: list[tuple[str, list[int]]] = []
    membership.revoked = lambda shards: heard.append(("revoked", shards))
    membership.assigned = lambda shards: heard.append(("assigned", shards))
    consumer.callbacks["on_assign"](consumer, [TopicPartition("wf-commands", 1)])
    assert heard == [("assigned", [1])]
    consumer.member_id = "second"
    consumer.callbacks["on_revoke"](consumer, [TopicPartition("wf-commands", 1)])
    consumer.callbacks["on_assign"](consumer, [TopicPartition("wf-commands", 2)])
    assert heard[1:] == [("revoked", [1]), ("revoked", [0]), ("assigned", [0, 2])]
    assert membership.metadata() == "metadata of second"


def test_a_member_without_an_id_may_not_commit() -> None:
    membership, consumer = joined()
    consumer.member_id = ""
    with pytest.raises(NotAMember):
        membership.metadata()


def test_whoever_leaves_hears_all_that_is_due_before_its_client_is_closed() -> None:
    """A client that is closed with a callback to make may wait for ever, and the whole interpreter with it."""
    membership, consumer = joined()
    heard: list[tuple[str, list[int]]] = []
    membership.revoked = lambda shards: heard.append(("revoked", shards))
    membership.assigned = lambda shards: heard.append(("assigned", shards))
    consumer.member_id = "second"
    consumer.due.append(lambda: consumer.callbacks["on_assign"](consumer, [TopicPartition("wf-commands", 1)]))
    membership.leave()
    assert heard == [("revoked", [0]), ("assigned", [0, 1])]
    assert consumer.is_closed
