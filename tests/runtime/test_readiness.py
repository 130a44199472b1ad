"""Rules of what a worker says that it is doing."""

from processors.runtime.group.readiness import Readiness, Snapshot, State


def test_readiness_is_the_worst_of_what_its_parts_report() -> None:
    seen: list[Snapshot] = []
    readiness = Readiness(seen.append)
    readiness.lives(State.JOINING)
    readiness.lives(State.FOLDING)
    readiness.owns((), {0: 0.0})
    readiness.pauses({3: "a rule broke"})
    readiness.waits_for_kafka(True)
    readiness.waits_for_kafka(False)
    readiness.pauses({})
    readiness.owns((0,), {})
    readiness.owns((0,), {})
    assert [str(snapshot.state) for snapshot in seen] == [
        "joining",
        "folding",
        "restoring",
        "degraded",
        "waiting for Kafka",
        "degraded",
        "restoring",
        "folding",
    ]
    assert [snapshot.ready for snapshot in seen] == [False, True, False, False, False, False, False, True]
