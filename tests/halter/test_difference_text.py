"""What differs between two moments is told in words, whatever happened between them."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from halter.history.difference import differences
from halter.history.difference_text import GONE, NEW, OTHER, lines
from halter.history.moments import Moments
from halter.show.waiting_text import NO_BREAK
from halter.show.wf_run_text import understood
from tests.support.recorded import EVERY_KIND, engine_of, logs_of

DOCUMENTS = (
    *EVERY_KIND,
    "F29-back-off",
    "F37-no-rescue-after-a-failed-interrupt-handler",
    "08-timer-under-an-interrupt",
)


def told(name: str, *, times: bool = True) -> Iterator[list[tuple[str, str]]]:
    """The lines about each event of each WfRun that a document runs: sign and words."""
    engine = engine_of(name)
    for wf_run_id, log in logs_of(engine):
        moments = Moments.of(wf_run_id, log)
        states = [understood(moments.state(at), engine.context.definitions) for at in range(-1, len(moments.log))]
        for before, after in pairwise(states):
            changes = differences(before, after, times=times, waits=True)
            yield [
                (sign, words.replace(NO_BREAK, " ")) for _, sign, words in lines(changes, before, after, times=times)
            ]


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_record_is_shown_as_it_is_stored(name: str, times: bool) -> None:
    for words in (words for event in told(name, times=times) for _, words in event):
        assert "node." not in words
        assert '"kind"' not in words
        assert '"status"' not in words
        assert '"failure_class"' not in words
        assert not words.endswith("→ null")


def test_an_attempt_and_its_timer_are_told_from_one_moment_to_the_other() -> None:
    retrying = next(it for it in told("F29-back-off") if any("attempt 1 RETRYING" in words for _, words in it))
    at = "2026-01-01T00:00:01.000Z"
    assert (OTHER, f"task t  attempt 1 OUT → attempt 1 RETRYING at {at}, FAILED") in retrying
    assert (OTHER, f"timer  TASK_TIMEOUT, due 2026-01-01T00:01:00.000Z → TASK_BACKOFF, due {at}") in retrying


def test_a_migration_is_told_by_both_versions_and_what_it_changes() -> None:
    assert any((OTHER, "WfSpec  cart:0.0 → cart:0.1") in it for it in told("S7-MigrateWfRun-goes-on"))
    migrated = [it for event in told("S7-MigrateWfRun") for it in event]
    assert {(OTHER, "WfSpec  cart:0.0 → cart:1.0"), (NEW, 'card  "visa"')} <= {*migrated}


def test_what_is_kept_and_no_longer_kept_is_new_and_gone() -> None:
    signs = [(sign, words.split(",")[0]) for event in told("08-timer-under-an-interrupt") for sign, words in event]
    assert (NEW, "timer  SLEEP") in signs
    assert (GONE, "timer  SLEEP") in signs
