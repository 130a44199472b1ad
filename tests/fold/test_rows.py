"""A WfRun and its rows: which rows a turn writes, and how a WfRun comes back from them."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from processors.core.records.model import ExternalEventStatus, KeptInput, WfRunExternalEvent
from processors.core.records.topic_names import KEPT_INPUTS, OPERATOR_COMMANDS, WF_COMMANDS, WF_RUNS
from processors.core.rules.engine import new_run
from processors.fold.rows import RowRecord, changed_rows, has_rows, wf_run_of

EVENTS = [WfRunExternalEvent("w", "add", f"e{it}", ExternalEventStatus.UNCLAIMED, it, it, 0) for it in range(3)]
KEPT = [KeptInput("w", WF_COMMANDS, 0, it, it, 5, b"w", b"") for it in (1, 2)]
QUARANTINE = KeptInput("w", OPERATOR_COMMANDS, 0, 0, 0, 7, b"w", b"")


@given(st.permutations([*EVENTS, *KEPT]))
def test_a_wf_run_has_its_rows_whatever_their_order(rows: list[RowRecord]) -> None:
    run = wf_run_of("w", rows)
    assert list(run.external_events) == [event.key for event in EVENTS]
    assert run.kept_inputs == KEPT


def test_a_wf_run_that_is_put_together_again_has_only_the_rows_of_now() -> None:
    own = replace(new_run("w"), quarantined_ms=5)
    assert wf_run_of("w", [own, *EVENTS, *KEPT]) is own
    assert wf_run_of("w", [own, EVENTS[1], KEPT[1]]) is own
    assert list(own.external_events) == [EVENTS[1].key]
    assert own.kept_inputs == [KEPT[1]]


def test_there_is_no_wf_run_without_a_row() -> None:
    assert not has_rows(wf_run_of("w", []))


def test_a_lost_row_is_never_written_and_its_quarantine_is_known_from_another() -> None:
    run = wf_run_of("w", [QUARANTINE, *KEPT])
    assert run.quarantined_ms == QUARANTINE.timestamp_ms
    assert run.kept_inputs == KEPT
    run.changes.kept.extend(KEPT)
    written = list(changed_rows(run, own_row_is_lost=True))
    assert written == [(KEPT_INPUTS, kept.row_key, kept) for kept in KEPT]
    assert (WF_RUNS, "w", run) in changed_rows(run, own_row_is_lost=False)
