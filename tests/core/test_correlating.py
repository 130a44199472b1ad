"""Correlation, decided record by record: a given key, what comes, and what became of it.

(rules correlated-event-goes-to-all, correlated-event-waits, kept-events-go-to-the-first, kept-events-expire)
"""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from processors.core.records.commands import (
    CorrelatedEvent,
    CorrelationCommand,
    CorrelationTimerFired,
    DefinitionKind,
    RegisterCorrelationKey,
    RemoveCorrelationKey,
)
from processors.core.records.events import Cause, CorrelationDecided, Definition, RejectionCode
from processors.core.records.model import CorrelatedWfRun, Correlation, KeptCorrelatedEvent, RecordHeader
from processors.core.records.names import CORRELATION_KEY_LENGTH_MAX
from processors.core.rules.context import Limits
from processors.core.rules.correlating import EVENT_BYTES_MAX, correlate, due_ms, follow, is_empty
from processors.core.wf_spec.definitions import Definitions

DAY_MS = 24 * 60 * 60 * 1000
LIMITS = Limits()
DEFINITIONS = Definitions()
DEFINITIONS.apply(Definition(DefinitionKind.EXTERNAL_EVENT_DEF, "paid", 0, 0))
KEY, PAID = "A7", "paid"


class Key:
    """One key, and what has become of the records about it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.correlation, self.limits = Correlation(KEY, PAID), limits
        self.log: list[CorrelationDecided] = []
        self._offset = 0

    def take(self, command: CorrelationCommand, at_ms: int = 0, value: bytes = b"v") -> list[CorrelationDecided]:
        self._offset += 1
        arrived = None
        if isinstance(command, CorrelatedEvent):
            until_ms = at_ms + self.limits.kept_correlated_ms
            arrived = KeptCorrelatedEvent(command.external_event_id, self._offset, at_ms, until_ms, value)
        cause = Cause("correlated-events", 0, self._offset, None, 0)
        log, self.correlation = correlate(self.correlation, command, arrived, cause, at_ms, DEFINITIONS, self.limits)
        assert log, command
        assert {it.cause for it in log} == {cause}
        self.log += log
        return log

    def event(self, event_id: str, at_ms: int = 0, value: bytes = b"v") -> CorrelationDecided:
        [decided] = self.take(CorrelatedEvent(KEY, PAID, event_id), at_ms, value)
        return decided

    def register(self, wf_run_id: str, incarnation: int = 0, at_ms: int = 0) -> list[CorrelationDecided]:
        return self.take(RegisterCorrelationKey(KEY, PAID, wf_run_id, incarnation), at_ms)

    def remove(self, wf_run_id: str, incarnation: int = 0) -> CorrelationDecided:
        [decided] = self.take(RemoveCorrelationKey(KEY, PAID, wf_run_id, incarnation))
        return decided

    def timer(self, at_ms: int) -> list[CorrelationDecided]:
        return self.take(CorrelationTimerFired(KEY, PAID, at_ms), at_ms)


def told(log: list[CorrelationDecided]) -> list[tuple[str, str | None, list[str]]]:
    return [(str(it.outcome), it.external_event_id, [of.wf_run_id for of in it.wf_runs]) for it in log]


def test_an_event_goes_to_every_wf_run_in_the_order_in_which_they_registered() -> None:
    key = Key()
    key.register("b")
    key.register("a")
    assert told([key.event("e1")]) == [("POSTED", "e1", ["b", "a"])]


def test_an_event_for_nobody_waits_for_the_first_wf_run_and_for_no_other() -> None:
    key = Key()
    assert key.event("e1", 5).until_ms == 5 + LIMITS.kept_correlated_ms
    key.event("e2", 6)
    assert told(key.register("a")) == [
        ("REGISTERED", None, ["a"]),
        ("POSTED", "e1", ["a"]),
        ("POSTED", "e2", ["a"]),
    ]
    assert told(key.register("b")) == [("REGISTERED", None, ["b"])]


def test_a_wf_run_whose_key_is_removed_gets_nothing_more() -> None:
    key = Key()
    key.register("a")
    assert told([key.remove("a")]) == [("REMOVED", None, ["a"])]
    assert key.event("e1").outcome == "KEPT"


def test_an_event_that_has_waited_as_long_as_it_may_expires_and_may_be_sent_again() -> None:
    key = Key()
    key.event("e1", 5)
    key.event("e2", 8)
    due = due_ms(key.correlation, LIMITS)
    assert due == 5 + 7 * DAY_MS
    assert told(key.timer(due)) == [("EXPIRED", "e1", [])]
    assert due_ms(key.correlation, LIMITS) == 8 + 7 * DAY_MS
    assert key.event("e1", due).outcome == "KEPT"


def test_a_registration_before_a_late_timer_does_not_get_what_has_expired() -> None:
    key = Key()
    key.event("e1", 5)
    assert told(key.register("a", at_ms=5 + 7 * DAY_MS)) == [("REGISTERED", None, ["a"]), ("EXPIRED", "e1", [])]


def test_an_early_timer_is_ignored() -> None:
    key = Key()
    key.event("e1", 5)
    assert told(key.timer(4 + 7 * DAY_MS)) == [("IGNORED", None, [])]
    assert key.correlation.kept


# (rule correlated-id-remembered)
def test_a_repeat_is_refused_while_the_first_waits_and_for_a_day_after_it_was_posted() -> None:
    key = Key()
    key.event("e1", 1)
    assert key.event("e1", 2).code is RejectionCode.ALREADY_EXISTS
    key.register("a", at_ms=3)
    assert key.event("e1", 3 + DAY_MS - 1).code is RejectionCode.ALREADY_EXISTS
    assert key.event("e1", 3 + DAY_MS).outcome == "POSTED"


# (rule correlated-id-remembered)
def test_of_many_events_the_newest_ids_are_remembered() -> None:
    key = Key(replace(LIMITS, remembered_correlated_events=3))
    key.register("a")
    for number in range(5):
        key.event(f"e{number}")
    assert key.event("e2").outcome == "REJECTED"
    assert key.event("e1").outcome == "POSTED"


def test_a_key_that_nobody_has_is_forgotten_when_the_last_id_is() -> None:
    key = Key()
    key.register("a")
    key.event("e1", 7)
    assert due_ms(key.correlation, LIMITS) is None
    key.remove("a")
    due = due_ms(key.correlation, LIMITS)
    assert due == 7 + DAY_MS
    key.timer(due)
    assert is_empty(key.correlation)
    assert due_ms(key.correlation, LIMITS) is None


# (rule key-registered-once)
def test_a_wf_run_has_a_key_once_by_its_latest_incarnation() -> None:
    key = Key()
    key.register("a", 3)
    assert told(key.register("a", 3)) == [("IGNORED", None, [])]
    assert told(key.register("a", 2)) == [("IGNORED", None, [])]
    assert key.remove("a", 2).outcome == "IGNORED"
    key.register("a", 9)
    assert key.correlation.wf_runs == [CorrelatedWfRun("a", 9)]
    assert key.remove("a", 3).outcome == "IGNORED"
    assert key.remove("a", 9).outcome == "REMOVED"


# (rule key-registered-once)
def test_a_key_has_so_many_wf_runs_and_no_more() -> None:
    key = Key(replace(LIMITS, correlated_wf_runs=2))
    key.register("a")
    key.register("b")
    [refused] = key.register("c")
    assert refused.code is RejectionCode.RESOURCE_EXHAUSTED
    assert "WfRun 'c' does not get its events" in (refused.message or "")
    assert key.register("a", 5)[0].outcome == "REGISTERED"
    assert [it.wf_run_id for it in key.event("e").wf_runs] == ["b", "a"]


def test_so_many_events_wait_and_no_more() -> None:
    few = Key(replace(LIMITS, kept_correlated_events=2))
    few.event("e1")
    few.event("e2")
    assert few.event("e3").code is RejectionCode.RESOURCE_EXHAUSTED
    small = Key(replace(LIMITS, kept_correlated_bytes=10))
    small.event("e1", value=b"123456")
    assert small.event("e2", value=b"12345").code is RejectionCode.RESOURCE_EXHAUSTED
    assert small.event("e3", value=b"1234").outcome == "KEPT"


def test_headers_of_an_event_that_waits_count_too_even_empty_ones() -> None:
    """Otherwise its row could become larger than a record may be, and the partition would wait for an operator."""
    kept = KeptCorrelatedEvent("e1", 0, 0, 1, b"12", [RecordHeader("\u00e4", b"345"), RecordHeader("", b"")])
    assert kept.size >= 2 + 2 + 3 + 4


def test_what_cannot_be_a_wf_run_or_a_key_is_not_registered() -> None:
    key = Key()
    for wf_run_id, text in (("", KEY), ("a/b", KEY), ("w" * 300_000, KEY), ("w", "k" * 300)):
        [refused] = key.take(RegisterCorrelationKey(text, PAID, wf_run_id, 1))
        assert refused.code is RejectionCode.INVALID_ARGUMENT
        assert len(refused.message or "") < 1_000
    assert is_empty(key.correlation)


# (rule correlated-event-checked)
def test_an_event_that_no_wf_run_could_take_is_refused() -> None:
    key = Key()
    for command, value in (
        (CorrelatedEvent(KEY, "payd", "e1"), b""),
        (CorrelatedEvent(KEY, PAID, ""), b""),
        (CorrelatedEvent("k" * (CORRELATION_KEY_LENGTH_MAX + 1), PAID, "e1"), b""),
        (CorrelatedEvent(KEY, PAID, "e1"), bytes(EVENT_BYTES_MAX + 1)),
    ):
        [refused] = key.take(command, value=value)
        assert refused.code is RejectionCode.INVALID_ARGUMENT, command
    assert is_empty(key.correlation)


# (rule correlated-event-checked)
def test_an_event_that_would_be_too_much_for_all_together_is_refused() -> None:
    key = Key(replace(LIMITS, bytes_in_all=10))
    key.register("a")
    key.register("b")
    assert key.event("e1", value=b"123456").code is RejectionCode.RESOURCE_EXHAUSTED
    assert key.event("e1", value=b"12345").outcome == "POSTED"


names, ids = st.sampled_from("abc"), st.sampled_from(["e1", "e2", "e3", "e4"])
incarnations = st.integers(0, 2)
commands: st.SearchStrategy[CorrelationCommand] = st.one_of(
    st.builds(CorrelatedEvent, st.just(KEY), st.just(PAID), ids),
    st.builds(RegisterCorrelationKey, st.just(KEY), st.just(PAID), names, incarnations),
    st.builds(RemoveCorrelationKey, st.just(KEY), st.just(PAID), names, incarnations),
    st.just(CorrelationTimerFired(KEY, PAID, 0)),
)


# (rule correlation-has-one-order)
@given(st.lists(st.tuples(commands, st.integers(0, 8 * DAY_MS)), max_size=30))
def test_whatever_comes_the_log_says_who_has_the_key_and_what_waits(
    given_commands: list[tuple[CorrelationCommand, int]],
) -> None:
    key, now_ms = Key(replace(LIMITS, correlated_wf_runs=2, kept_correlated_events=2)), 0
    for command, later_ms in given_commands:
        now_ms += later_ms
        key.take(command, now_ms)
        assert len(key.correlation.wf_runs) <= 2
        assert len(key.correlation.kept) <= 2
        assert not (key.correlation.wf_runs and key.correlation.kept), "who registers gets all that waits"
    # A reader of the log alone comes to the same, and one who has its end knows who has the key once it says that.
    assert followed(key.log, key) == key.correlation
    for begin, decided in enumerate(key.log):
        if decided.outcome == "POSTED":
            end = followed(key.log[begin:], key)
            assert (end.wf_runs, end.kept) == (key.correlation.wf_runs, key.correlation.kept)


def followed(log: list[CorrelationDecided], key: Key) -> Correlation:
    """Return what a log says of a key."""
    correlation = Correlation(KEY, PAID)
    for it in log:
        arrived = None
        if it.outcome == "KEPT":
            arrived = KeptCorrelatedEvent(
                it.external_event_id or "", it.cause.offset, it.time_ms, it.until_ms or 0, b"v"
            )
        correlation = follow(correlation, it, arrived, key.limits)
    return correlation
