"""The experiments that are made on a real broker and in the model: by hand, and random ones by seed."""

import random
from typing import Any, Final

from confluent_kafka import TopicPartition

from tests.simulation.laboratory import (
    MEMBER,
    Experiment,
    Laboratory,
    Member,
    all_of,
    answered,
    at_rest,
    committed,
    eventually,
    offsets,
    outcome,
    poll_for,
    poll_until,
    read,
    reading,
)

CALL_S: Final = 10.0
EXPERIMENTS: dict[str, Experiment] = {}


def experiment(function: Experiment) -> Experiment:
    """Register an experiment."""
    EXPERIMENTS[function.__name__.replace("_", " ")] = function
    return function


def producer(laboratory: Laboratory, name: str = "one", timeout_ms: int = 10_000) -> Any:
    """Return a transactional producer that has its id."""
    made = laboratory.producer({"transactional.id": f"{laboratory.topic}-{name}", "transaction.timeout.ms": timeout_ms})
    made.init_transactions(CALL_S)
    return made


def write(laboratory: Laboratory, it: Any, *values: bytes, partition: int = 0) -> int:
    """Produce in the open transaction, and wait until the records are there."""
    for value in values:
        it.produce(laboratory.topic, value, b"key", partition)
    left: int = it.flush(CALL_S)
    return left


def log_ends(laboratory: Laboratory, partition: int = 0) -> tuple[int, int]:
    """Return both ends of a partition, once no transaction is open on it."""
    found: tuple[int, int] = eventually(laboratory, lambda: offsets(laboratory, partition), lambda it: it[0] == it[1])
    return found


def a_committed_record_is_at(laboratory: Laboratory, it: Any, *values: bytes, partition: int = 0) -> None:
    """Make a transaction that goes well."""
    it.begin_transaction()
    write(laboratory, it, *values, partition=partition)
    it.commit_transaction(CALL_S)
    log_ends(laboratory, partition)


@experiment
def marks_take_offsets_and_are_not_shown(laboratory: Laboratory) -> Any:
    it = producer(laboratory)
    a_committed_record_is_at(laboratory, it, b"a", b"b")
    it.begin_transaction()
    write(laboratory, it, b"void")
    it.abort_transaction(CALL_S)
    log_ends(laboratory)
    a_committed_record_is_at(laboratory, it, b"c")
    return all_of(laboratory, 0), log_ends(laboratory), offsets(laboratory, 1)


@experiment
def an_open_transaction_holds_back_the_last_stable_offset(laboratory: Laboratory) -> Any:
    one, two = producer(laboratory), producer(laboratory, "two")
    seen: list[Any] = []
    one.begin_transaction()
    write(laboratory, one, b"early")
    a_committed_record = two
    a_committed_record.begin_transaction()
    write(laboratory, two, b"late")
    two.commit_transaction(CALL_S)
    seen += [eventually(laboratory, lambda: offsets(laboratory, 0), lambda it: it[1] == 3), all_of(laboratory, 0)]
    with reading(laboratory, 0) as reader:
        seen.append(read(laboratory, reader))
        one.commit_transaction(CALL_S)
        seen.append(read(laboratory, reader))
    return [*seen, log_ends(laboratory)]


@experiment
def watermarks_of_a_consumer_are_those_of_its_isolation(laboratory: Laboratory) -> Any:
    it = producer(laboratory)
    a_committed_record_is_at(laboratory, it, b"a")
    it.begin_transaction()
    write(laboratory, it, b"open")
    place = TopicPartition(laboratory.topic, 0)
    with reading(laboratory, 0) as reader:
        before = reader.get_watermark_offsets(place, timeout=5.0)
    it.abort_transaction(CALL_S)
    log_ends(laboratory)
    with reading(laboratory, 0) as reader:
        return before, reader.get_watermark_offsets(place, timeout=5.0)


@experiment
def ends_of_partitions_are_told_once_each_time(laboratory: Laboratory) -> Any:
    it = producer(laboratory)
    with reading(laboratory, 0) as reader:
        seen = [read(laboratory, reader)]
        for value in (b"a", b"b"):
            a_committed_record_is_at(laboratory, it, value)
            seen.append(read(laboratory, reader))
        quiet = [reader.poll(0.1) for _ in range(5)]
        return seen, quiet


@experiment
def a_producer_whose_id_is_taken_has_its_transaction_aborted(laboratory: Laboratory) -> Any:
    old = producer(laboratory)
    old.begin_transaction()
    seen: list[Any] = [write(laboratory, old, b"void")]
    producer(laboratory)
    seen += [log_ends(laboratory), all_of(laboratory, 0)]
    seen += [outcome(old.commit_transaction, CALL_S), outcome(old.abort_transaction, CALL_S)]
    seen += [outcome(old.begin_transaction), outcome(old.produce, laboratory.topic, b"x", b"key", 0)]
    return [*seen, all_of(laboratory, 0)]


@experiment
def a_zombie_that_writes_on_does_not_write(laboratory: Laboratory) -> Any:
    old = producer(laboratory)
    old.begin_transaction()
    write(laboratory, old, b"void")
    producer(laboratory)
    old.produce(laboratory.topic, b"more", b"key", 0)
    seen = [outcome(old.flush, CALL_S), outcome(old.commit_transaction, CALL_S)]
    return [*seen, log_ends(laboratory), all_of(laboratory, 0)]


@experiment
def a_zombie_that_writes_elsewhere_does_not_write(laboratory: Laboratory) -> Any:
    old = producer(laboratory)
    old.begin_transaction()
    write(laboratory, old, b"void")
    producer(laboratory)
    old.produce(laboratory.topic, b"more", b"key", 1)
    seen = [outcome(old.flush, CALL_S), outcome(old.commit_transaction, CALL_S)]
    return [*seen, log_ends(laboratory), all_of(laboratory, 0), all_of(laboratory, 1)]


@experiment
def a_zombie_that_begins_does_not_write(laboratory: Laboratory) -> Any:
    old = producer(laboratory)
    a_committed_record_is_at(laboratory, old, b"a")
    new = producer(laboratory)
    old.begin_transaction()
    old.produce(laboratory.topic, b"void", b"key", 0)
    seen = [outcome(old.flush, CALL_S), outcome(old.commit_transaction, CALL_S)]
    a_committed_record_is_at(laboratory, new, b"b")
    return [*seen, log_ends(laboratory), all_of(laboratory, 0)]


@experiment
def a_zombie_commits_no_offsets(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one")
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    old = producer(laboratory)
    old.begin_transaction()
    producer(laboratory)
    seen = [outcome(old.send_offsets_to_transaction, [at(laboratory, 5)], member.metadata, CALL_S)]
    seen += [outcome(old.commit_transaction, CALL_S), committed(laboratory, 0, stable=True)]
    member.close()
    return seen


@experiment
def a_transaction_that_takes_too_long_is_aborted(laboratory: Laboratory) -> Any:
    it = producer(laboratory, timeout_ms=1_000)
    it.begin_transaction()
    write(laboratory, it, b"void")
    seen = [log_ends(laboratory), all_of(laboratory, 0)]
    seen.append(outcome(it.commit_transaction, CALL_S))
    again = producer(laboratory)
    a_committed_record_is_at(laboratory, again, b"a")
    return [*seen, all_of(laboratory, 0)]


@experiment
def offsets_after_the_time_out_are_refused(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one")
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    it = producer(laboratory, timeout_ms=1_000)
    it.begin_transaction()
    write(laboratory, it, b"void")
    log_ends(laboratory)
    seen = [outcome(it.send_offsets_to_transaction, [at(laboratory, 5)], member.metadata, CALL_S)]
    seen.append(committed(laboratory, 0))
    member.close()
    return seen


@experiment
def calls_out_of_their_order_are_refused(laboratory: Laboratory) -> Any:
    it = laboratory.producer({"transactional.id": f"{laboratory.topic}-x"})
    seen = [outcome(it.begin_transaction), outcome(it.commit_transaction, 1.0)]
    it.init_transactions(CALL_S)
    seen += [outcome(it.commit_transaction, 1.0), outcome(it.produce, laboratory.topic, b"x", b"key", 0)]
    it.begin_transaction()
    seen += [outcome(it.begin_transaction), outcome(it.commit_transaction, CALL_S)]
    it.begin_transaction()
    return [*seen, outcome(it.abort_transaction, CALL_S), outcome(it.begin_transaction), offsets(laboratory, 0)]


def at(laboratory: Laboratory, offset: int, partition: int = 0, metadata: str = "owner") -> TopicPartition:
    """Return an offset to commit."""
    return TopicPartition(laboratory.topic, partition, offset, metadata)


@experiment
def offsets_are_pending_until_the_transaction_ends(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one")
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    it, seen = producer(laboratory), [committed(laboratory, 0, stable=True)]
    for offset, end in ((5, it.commit_transaction), (9, it.abort_transaction)):
        it.begin_transaction()
        seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, offset)], member.metadata, CALL_S))
        is_stable = committed(laboratory, 0, stable=True)
        seen += [committed(laboratory, 0), is_stable, committed(laboratory, 1, stable=True)]
        end(CALL_S)
        seen.append(
            eventually(laboratory, lambda: committed(laboratory, 0, stable=True), lambda it: it == (5, "owner"))
        )
    member.close()
    return seen


@experiment
def of_two_offsets_the_one_that_was_written_later_counts_whichever_is_marked_later(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one")
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    one, two = producer(laboratory), producer(laboratory, "two")
    for offset, it in ((5, one), (7, two)):
        it.begin_transaction()
        it.send_offsets_to_transaction([at(laboratory, offset)], member.metadata, CALL_S)
    for it in (two, one):
        it.commit_transaction(CALL_S)
    seen = eventually(laboratory, lambda: committed(laboratory, 0, stable=True), lambda it: isinstance(it, tuple))
    member.close()
    return seen


@experiment
def an_older_generation_cannot_commit(laboratory: Laboratory) -> Any:
    first = Member(laboratory, "first")
    poll_until(laboratory, lambda: len(first.owned) == 4, first)
    stale = first.metadata
    second = Member(laboratory, "second")
    seen: list[Any] = [poll_until(laboratory, lambda: len(second.owned) == 2, first, second)]
    poll_for(laboratory, 0.5, first, second)
    it = producer(laboratory)
    it.begin_transaction()
    write(laboratory, it, b"void")
    seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, 5)], stale, CALL_S))
    seen += [outcome(it.produce, laboratory.topic, b"x", b"key", 0), outcome(it.commit_transaction, CALL_S)]
    seen += [outcome(it.abort_transaction, CALL_S), log_ends(laboratory), committed(laboratory, 0, stable=True)]
    it.begin_transaction()
    seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, 6)], first.metadata, CALL_S))
    seen.append(outcome(it.commit_transaction, CALL_S))
    seen.append(eventually(laboratory, lambda: committed(laboratory, 0, stable=True), lambda it: it == (6, "owner")))
    first.close()
    second.close()
    return seen


@experiment
def a_member_that_has_left_cannot_commit(laboratory: Laboratory) -> Any:
    first, second = Member(laboratory, "first"), Member(laboratory, "second")
    poll_until(laboratory, lambda: len(first.owned) == len(second.owned) == 2, first, second)
    stale = first.metadata
    first.close()
    poll_until(laboratory, lambda: len(second.owned) == 4, second)
    it = producer(laboratory)
    it.begin_transaction()
    seen = [outcome(it.send_offsets_to_transaction, [at(laboratory, 5)], stale, CALL_S)]
    seen += [outcome(it.abort_transaction, CALL_S), committed(laboratory, 0, stable=True)]
    second.close()
    return seen


@experiment
def a_static_member_that_was_replaced_cannot_commit(laboratory: Laboratory) -> Any:
    old, other = Member(laboratory, "old", "name"), Member(laboratory, "other")
    poll_until(laboratory, lambda: len(old.owned) == len(other.owned) == 2, old, other)
    poll_for(laboratory, 0.5, old, other)
    stale, owned, told = old.metadata, set(old.owned), len(other.told)
    new = Member(laboratory, "new", "name")
    poll_until(laboratory, lambda: len(new.owned) == 2, new, other)
    # The others hear nothing of it, and it keeps its partitions.
    seen: list[Any] = [new.owned == owned, len(other.told) - told]
    it = producer(laboratory)
    it.begin_transaction()
    seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, 5)], stale, CALL_S))
    seen.append(outcome(it.abort_transaction, CALL_S))
    it.begin_transaction()
    seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, 6)], new.metadata, CALL_S))
    seen.append(outcome(it.commit_transaction, CALL_S))
    errors: list[str] = []

    def is_told() -> bool:
        errors.extend(filter(None, [old.poll()]))
        return bool(errors)

    poll_until(laboratory, is_told, other)
    for member in (new, other):
        member.close()
    return [*seen, errors[:1]]


@experiment
def offsets_without_a_member_pass(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one")
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    nobody = laboratory.consumer({})
    it = producer(laboratory)
    it.begin_transaction()
    seen = [outcome(it.send_offsets_to_transaction, [at(laboratory, 5)], nobody.consumer_group_metadata(), CALL_S)]
    seen.append(outcome(it.commit_transaction, CALL_S))
    seen.append(eventually(laboratory, lambda: committed(laboratory, 0, stable=True), lambda it: it == (5, "owner")))
    member.close()
    nobody.close()
    return seen


@experiment
def shards_move_one_rebalance_after_they_were_given_up(laboratory: Laboratory) -> Any:
    first = Member(laboratory, "first")
    poll_until(laboratory, lambda: len(first.owned) == 4, first)
    second = Member(laboratory, "second")
    overlaps: list[set[int]] = []

    def shared() -> bool:
        overlaps.append(first.owned & second.owned)
        return len(second.owned) == 2

    poll_until(laboratory, shared, first, second)
    poll_for(laboratory, 0.5, first, second)
    seen: list[Any] = [any(overlaps), told(first), told(second), len(first.owned | second.owned)]
    second.close()
    poll_until(laboratory, lambda: len(first.owned) == 4, first)
    seen += [told(second), len(first.owned)]
    first.close()
    return [*seen, told(first)[-1]]


def told(member: Member) -> list[tuple[str, int]]:
    """Return the messages of a member that are no routine."""
    return [it for it in member.told if it[1]]


@experiment
def shards_that_a_static_member_owed_are_nobodys_until_the_next_rebalance(laboratory: Laboratory) -> Any:
    def given() -> Any:
        futures = laboratory.admin().describe_consumer_groups([laboratory.group], request_timeout=5.0)
        members = answered(laboratory, futures[laboratory.group]).members
        return sorted(len(it.assignment.topic_partitions) for it in members)

    old = Member(laboratory, "old", "name")
    poll_until(laboratory, lambda: len(old.owned) == 4, old)
    new = Member(laboratory, "new")
    # The old one has to give up two. It does not hear of it, because it polls no more and is started again.
    poll_for(laboratory, 2.0, new)
    again = Member(laboratory, "again", "name")
    poll_for(laboratory, 5.0, new, again)
    seen: list[Any] = [len(new.owned), len(again.owned), given()]
    passer_by = laboratory.consumer(MEMBER)
    passer_by.subscribe([laboratory.topic])
    poll_until(laboratory, lambda: bool(passer_by.memberid()), new, again)
    passer_by.close()
    poll_until(laboratory, lambda: len(new.owned) == len(again.owned) == 2, new, again)
    seen += [len(new.owned), len(again.owned), eventually(laboratory, given, lambda it: it == [2, 2])]
    for member in (new, again):
        member.close()
    return seen


@experiment
def a_member_that_does_not_poll_loses_its_shards(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one", None, 6_000)
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    stale, errors = member.metadata, list[str]()
    laboratory.sleep(9.0)
    seen: list[Any] = [member.consumer.memberid()]
    it = producer(laboratory)
    it.begin_transaction()
    seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, 5)], stale, CALL_S))
    seen.append(outcome(it.abort_transaction, CALL_S))
    # The name it presents is no member's any more, but its generation still counts, so it does not pass.
    it.begin_transaction()
    seen.append(outcome(it.send_offsets_to_transaction, [at(laboratory, 6)], member.metadata, CALL_S))
    seen.append(outcome(it.abort_transaction, CALL_S))

    def is_back() -> bool:
        errors.extend(filter(None, [member.poll()]))
        return ("lost", 4) in member.told and len(member.owned) == 4

    seen += [eventually(laboratory, is_back, bool), told(member), errors]
    member.close()
    return seen


def expelled(laboratory: Laboratory, instance_id: str | None) -> Any:
    """The partitions that the group takes from a member that owes it an answer, and that is back when all are free."""
    member = Member(laboratory, "one", instance_id)
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    other = Member(laboratory, "other")
    poll_for(laboratory, 2.0, other)
    # It has to give up two and has not heard of it. All four become the other's.
    former = member.consumer.memberid()
    laboratory.expel(former)
    seen: list[Any] = [poll_until(laboratory, lambda: len(other.owned) == 4, other), told(member)]
    other.close()
    poll_until(laboratory, lambda: len(member.owned) == 4 and member.consumer.memberid() not in {None, former}, member)
    poll_for(laboratory, 1.0, member)
    seen += [len(member.owned), told(member), member.consumer.memberid() == former]
    member.close()
    return seen


@experiment
def a_static_member_that_was_given_up_may_keep_shards_without_a_word(laboratory: Laboratory) -> Any:
    return expelled(laboratory, "name")


@experiment
def a_dynamic_member_that_was_given_up_hears_that_its_shards_are_lost(laboratory: Laboratory) -> Any:
    return expelled(laboratory, None)


@experiment
def a_call_of_the_applications_own_answers_what_it_has_not_heard_yet(laboratory: Laboratory) -> Any:
    member = Member(laboratory, "one", "name")
    poll_until(laboratory, lambda: len(member.owned) == 4, member)
    own = at(laboratory, 0)
    member.consumer.incremental_assign([own])
    other = Member(laboratory, "other")
    poll_for(laboratory, 2.0, other)
    seen: list[Any] = [len(other.owned), told(member)]
    # Taken for the answer to the callback that takes two, and then to the one that gives none.
    member.consumer.incremental_unassign([own])
    laboratory.sleep(0.5)
    member.consumer.incremental_assign([own])
    seen += [poll_until(laboratory, lambda: len(other.owned) == 2, other), told(member)]
    poll_until(laboratory, lambda: len(member.owned) == 2, member, other)
    seen.append(told(member))
    for it in (member, other):
        it.close()
    return seen


@experiment
def the_group_tells_who_is_in_it(laboratory: Laboratory) -> Any:
    def members() -> Any:
        futures = laboratory.admin().describe_consumer_groups([laboratory.group], request_timeout=5.0)
        answer = answered(laboratory, futures[laboratory.group])
        return answer if isinstance(answer, str) else sorted(it.client_id for it in answer.members)

    static, other = Member(laboratory, "static", "name"), Member(laboratory, "other")
    poll_until(laboratory, lambda: len(static.owned) == len(other.owned) == 2, static, other)
    seen = [members()]
    static.close()
    seen.append(members())
    poll_until(laboratory, lambda: len(other.owned) == 4, other)
    seen.append(members())
    other.close()
    return seen


@experiment
def partitions_are_assigned_and_taken_away_beside_the_group(laboratory: Laboratory) -> Any:
    it = producer(laboratory)
    a_committed_record_is_at(laboratory, it, b"a", b"b", b"c")
    with reading(laboratory) as consumer:
        zero = TopicPartition(laboratory.topic, 0, 1)
        seen = [outcome(consumer.incremental_assign, [zero]), outcome(consumer.incremental_assign, [zero])]
        seen.append(read(laboratory, consumer))
        seen += [outcome(consumer.incremental_unassign, [zero]), outcome(consumer.incremental_unassign, [zero])]
        a_committed_record_is_at(laboratory, it, b"d")
        return [*seen, [consumer.poll(0.1) for _ in range(3)]]


# Random ones.


class Player:
    """One of several producers in a random experiment. Two of them share an id."""

    def __init__(self, laboratory: Laboratory, name: str) -> None:
        self._laboratory, self._name = laboratory, name
        self._it = self._made()

    def _made(self) -> Any:
        return self._laboratory.producer(
            {"transactional.id": f"{self._laboratory.topic}-{self._name}", "transaction.timeout.ms": 10_000}
        )

    def play(self, move: str, number: int, metadata: Any) -> Any:
        """Make one move, and return its result."""
        it, topic = self._it, self._laboratory.topic
        match move:
            case "anew":
                self._it = self._made()
                return outcome(self._it.init_transactions, CALL_S)
            case "begin":
                return outcome(it.begin_transaction)
            case "produce":
                said = outcome(it.produce, topic, b"%d" % number, b"key", number % 2)
                # After a refusal it is luck whether a flush reports a fatal error once more.
                return said, outcome(it.flush, CALL_S) if said is None else None
            case "offsets":
                return outcome(it.send_offsets_to_transaction, [at(self._laboratory, number)], metadata, CALL_S)
            case "commit":
                return outcome(it.commit_transaction, CALL_S)
            case _:
                return outcome(it.abort_transaction, CALL_S)


MOVES: Final = ("anew", "begin", "begin", "produce", "produce", "produce", "offsets", "commit", "commit", "abort")


def random_experiment(seed: int) -> Experiment:
    """Random moves of three producers, two of which share an id, with looks at what is visible."""

    def experiment(laboratory: Laboratory) -> Any:
        randomness = random.Random(f"experiment {seed}")
        players = [Player(laboratory, name) for name in ("shared", "shared", "own")]
        seen: list[Any] = [(0, "anew", player.play("anew", 0, None)) for player in players]
        nobody = laboratory.consumer({})
        metadata = nobody.consumer_group_metadata()
        for number in range(1, 30):
            who, move = randomness.randrange(3), randomness.choice(MOVES)
            seen.append((who, move, players[who].play(move, number, metadata)))
            if move in {"anew", "commit", "abort"}:
                # Markers are written after the answer.
                seen.append(at_rest(laboratory, lambda: [offsets(laboratory, it) for it in (0, 1)]))
        for player in players:
            player.play("anew", 0, None)
        seen += [log_ends(laboratory, it) for it in (0, 1)]
        seen += [all_of(laboratory, it) for it in (0, 1)]
        seen.append(committed(laboratory, 0, stable=True))
        nobody.close()
        return seen

    return experiment
