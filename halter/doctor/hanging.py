"""Looks for hanging transactions, which nobody ends: whoever reads committed records waits behind them.

Such a partition looks as if all of it was read: the end that Kafka tells to readers of committed records is where the
open transaction begins.
"""

import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, IsolationLevel, Message

from halter.doctor.cluster import Cluster
from halter.doctor.findings import Finding, Skip, Verdict
from halter.doctor.standing import MOVES_SECONDS
from halter.show.counting import counted
from halter.show.times import span

OPEN_MS: Final = 75_000
"""Brokers end a transaction of Halter's before: after transaction.timeout.ms, which is 60 s at most."""
TOLD_MAX: Final = 5
END_IT: Final = (
    "if a program of yours has it open, let that end it, or stop it: brokers then abort it (transaction.timeout.ms). "
    "If Kafka has lost its end: `kafka-transactions.sh describe-producers --topic {topic} --partition {number}` shows "
    "its producer, `kafka-transactions.sh abort --topic {topic} --partition {number} --start-offset {offset}` ends it "
    "(docs/operations.md says when that loses something)"
)


def hanging(cluster: Cluster) -> Iterator[Finding]:
    """Say in which partitions a transaction is open too long, since when, and what is hidden behind it."""
    places = cluster.places(*(it.name for it in cluster.topics.all if cluster.may(it.name, "READ")))
    if not places:
        raise Skip("there is no topic that this principal may read")
    readable = cluster.ends_of(places)
    written = cluster.ends_of(places, IsolationLevel.READ_UNCOMMITTED)
    begun = {place: end for place, end in readable.items() if end < written.get(place, end)}
    first = cluster.read(begun, most=1, isolation="read_uncommitted")
    now_ms = time.time() * 1_000
    old = {place: records[0] for place, records in first.items() if records and _age(records[0], now_ms) > OPEN_MS}
    if old:
        # What a producer has dated itself may be old though the transaction is young.
        time.sleep(MOVES_SECONDS)
        again = cluster.ends_of(old)
        old = {place: record for place, record in old.items() if again.get(place) == readable[place]}
    if not old:
        yield Finding(Verdict.FINE, f"no transaction is open for longer than {OPEN_MS // 1_000} s")
        return
    for (topic, number), record in [*old.items()][:TOLD_MAX]:
        offset, kind = readable[topic, number], record.timestamp()[0]
        hidden = written[topic, number] - offset
        dated = "" if kind == TIMESTAMP_LOG_APPEND_TIME else ", as its first record is dated"
        yield Finding(
            Verdict.WRONG if kind == TIMESTAMP_LOG_APPEND_TIME else Verdict.WARNING,
            f"{topic}[{number}]: a transaction has been open for {span(round(_age(record, now_ms)))}{dated}; it hides "
            f"{counted(hidden, 'offset')} from {offset} on from all who read committed records, workers too",
            END_IT.format(topic=topic, number=number, offset=offset),
            {"topic": topic, "partition": number, "offset": offset, "hidden": hidden},
        )
    if len(old) > TOLD_MAX:
        yield Finding(Verdict.WRONG, f"{counted(len(old) - TOLD_MAX, 'more partition')} like that", "as above")


def _age(record: Message, now_ms: float) -> float:
    return now_ms - record.timestamp()[1]
