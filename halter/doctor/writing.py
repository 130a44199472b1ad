"""Tries a transaction: begins one, writes to `operator-commands`, and aborts. Measures the brokers' clocks with it.

Readers of committed records see nothing of it; the offsets of one record and its mark are gone. That topic is the
choice because hardly anything is written to it, so if we are killed half-way nobody waits for the time-out of our
transaction. Brokers tell their time nowhere else: only in the LogAppendTime of a record.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from halter.doctor.cluster import ASK_SECONDS, Cluster, Once, input_topics
from halter.doctor.findings import Finding, Skip, Verdict
from halter.doctor.rights import SLOT
from halter.show.times import span
from processors.kafka.fencing import FENCED

KEY: Final = b"halter doctor"
SKEW_MS: Final = 1_000
"""Clocks that differ by more make time-outs come visibly late."""
SKEW_BAD_MS: Final = 30_000
TIMEOUT_MS: Final = 5_000
"""The shortest transaction time-out that Halter's settings allow."""
SYNCHRONISE: Final = "let the machines synchronise their clocks (NTP, chrony): time-outs are counted by both"


@dataclass(frozen=True, slots=True)
class Tried:
    """What a transaction showed. `skews`: broker -> its clock less ours, and how exact that is, in milliseconds."""

    took_ms: float
    acknowledged: int
    asked: int
    skews: dict[int, tuple[float, float]]


def attempt(cluster: Cluster, *, tries: bool) -> Once[Tried]:
    """Return the attempt at a transaction. Raises Skip where this principal may not, or `tries` is False."""

    def ask() -> Tried:
        if not tries:
            raise Skip("not tried, because of --read-only")
        topic = cluster.topics.operator_commands
        if not cluster.may(topic, "WRITE"):
            raise Skip(f"not tried: this principal may not write {topic}, on which it would be")
        try:
            with cluster.transactional:
                return _try(cluster, topic)
        except KafkaException as exception:
            if exception.args[0].code() in FENCED:
                raise Skip("broken off: another `halter doctor` began at the same moment; ask again") from exception
            raise

    return Once(ask)


def _try(cluster: Cluster, topic: str) -> Tried:
    partitions = cluster.shapes().there[topic].partitions
    by_leader = {it.leader: it.number for it in partitions if it.leader is not None}
    skews: dict[int, tuple[float, float]] = {}
    sent: dict[int, float] = {}
    acknowledged: list[Message] = []
    leaders = {partition: leader for leader, partition in by_leader.items()}

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.append(message)
            now, partition = time.time() * 1_000, message.partition() or 0
            kind, appended = message.timestamp()
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                half = (now - sent[partition]) / 2
                skews[leaders[partition]] = appended - (sent[partition] + half), half

    begun = time.monotonic()
    producer = Producer(
        cluster.settings.producer(
            transactional_id=cluster.topics.transactional_id(SLOT),
            linger_ms=0,
            **{"transaction.timeout.ms": TIMEOUT_MS, "message.timeout.ms": TIMEOUT_MS},
        )
    )
    try:
        producer.init_transactions(ASK_SECONDS)
    except KafkaException as exception:
        if exception.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            name = cluster.topics.transactional_id(SLOT)
            raise Skip(f"not tried: this principal may not use the transactional id '{name}'") from exception
        raise
    producer.begin_transaction()
    for partition in by_leader.values():
        sent[partition] = time.time() * 1_000
        producer.produce(topic, key=KEY, value=b"", partition=partition, on_delivery=delivered)
    producer.flush(ASK_SECONDS)
    producer.abort_transaction(ASK_SECONDS)
    return Tried((time.monotonic() - begun) * 1_000, len(acknowledged), len(by_leader), skews)


def transaction(cluster: Cluster, attempted: Once[Tried]) -> Iterator[Finding]:
    """Say whether a transaction is taken by brokers and coordinators."""
    tried = attempted()
    topic = cluster.topics.operator_commands
    if tried.acknowledged < tried.asked:
        missing = tried.asked - tried.acknowledged
        yield Finding(
            Verdict.WRONG,
            f"{missing} of {tried.asked} brokers did not acknowledge a record on {topic} within {ASK_SECONDS:g} s",
            "see 'replicas'; too few in sync, or a full disk, keeps brokers from it",
        )
        return
    yield Finding(
        Verdict.FINE,
        f"one was begun on {topic}, acknowledged and aborted, in {tried.took_ms:.0f} ms",
        data={"took_ms": round(tried.took_ms, 1)},
    )


def clocks(cluster: Cluster, attempted: Once[Tried]) -> Iterator[Finding]:
    """Compare the clock of this machine with those of brokers, or with the newest input if nothing may be written."""
    try:
        skews = attempted().skews
    except (Skip, KafkaException):  # the check of the transaction says why
        yield _by_newest_input(cluster)
        return
    if not skews:
        raise Skip("the brokers gave a record no LogAppendTime: see 'topics'")
    data = {"skew_ms": {str(broker): round(skew) for broker, (skew, _) in skews.items()}}
    broker, (skew, exact) = max(skews.items(), key=lambda it: abs(it[1][0]) - it[1][1])
    by = abs(skew) - exact
    if by <= SKEW_MS:
        within = max(abs(it) + half for it, half in skews.values())
        yield Finding(Verdict.FINE, f"the brokers' clocks agree with this machine's within {within:.0f} ms", data=data)
        return
    ahead = "ahead of" if skew > 0 else "behind"
    yield Finding(
        Verdict.WRONG if by > SKEW_BAD_MS else Verdict.WARNING,
        f"the clock of broker {broker} is {span(round(abs(skew)))} {ahead} this machine's",
        SYNCHRONISE,
        data,
    )


def _by_newest_input(cluster: Cluster) -> Finding:
    newest = max(cluster.newest_times(cluster.places(*input_topics(cluster.topics))).values(), default=None)
    if newest is None:
        raise Skip("not measured: it takes a transaction, or a record on an input")
    ahead = newest - time.time() * 1_000
    if ahead > SKEW_MS:
        verdict = Verdict.WRONG if ahead > SKEW_BAD_MS else Verdict.WARNING
        return Finding(
            verdict, f"a broker's clock is at least {span(round(ahead))} ahead of this machine's", SYNCHRONISE
        )
    return Finding(
        Verdict.SKIPPED,
        f"not measured, for which it takes a transaction; the newest input is {span(round(-ahead))} old",
    )
