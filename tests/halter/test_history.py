"""People see the history and the state of a WfRun, with masked values left out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from halter.client.history import History, external_events_needed_by
from halter.files.definition_files import read_definition_file
from halter.scenarios.comparison import difference
from halter.show import history, wf_run_text
from halter.show.log_text import event_line
from halter.show.redaction import REDACTED, Redactor
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    PutExternalEventDef,
    PutWfSpec,
    ReportTaskRun,
    RunWf,
    StopWfRun,
)
from processors.core.records.errors import NotInWfRun
from processors.core.records.events import (
    CorrelationKeyChanged,
    Event,
    ExternalEventPosted,
    HaltReasonResolved,
    Ignored,
    LogEntry,
    Rejected,
    Resume,
    SpawnChild,
    TaskRequest,
    WfRunForked,
)
from processors.core.records.model import (
    ExternalEventStatus,
    Status,
    TaskStatus,
    ThreadRun,
    ThreadType,
    WfRun,
    WfRunExternalEvent,
)
from processors.core.rules.evolve import new_run
from processors.core.rules.indexing import index_of
from processors.fold.rows import wf_run_of
from tests.support.records import filled
from tests.support.shard_rig import ShardRig

CART = Path(__file__).parents[2] / "examples" / "cart"
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
CARD = "card-12345678"


@pytest.mark.parametrize("event", get_args(Event), ids=lambda event: event.__name__)
def test_the_name_of_an_event_stands_apart_from_what_follows(event: type) -> None:
    made = filled(event, "x")
    _, name, *_ = event_line(made).split()
    assert name == (made.command if isinstance(made, Rejected | Ignored) else event.__name__)


class CartRig(ShardRig):
    """A shard that knows the cart."""

    def __init__(self) -> None:
        super().__init__()
        self.turn(*read_definition_file(CART / "cart.yaml").commands)
        self.written: list[LogEntry] = []

    def turn(self, *records: Any) -> list[Any]:
        outputs = super().turn(*records)
        if hasattr(self, "written"):
            self.written += [output for output in outputs if isinstance(output, LogEntry)]
        return outputs

    def start(self) -> None:
        self.turn(RunWf("c1", "cart", {"customer": "Ann", "card": CARD}))

    def post(self, name: str, event_id: str, content: Any = None) -> list[Any]:
        return self.turn(ExternalEvent("c1", name, event_id, content))

    def to_its_end(self) -> None:
        """Check out, charge the card, and end."""
        self.post("slot-chosen", "s1", "tomorrow")
        request = next(it for it in self.post("checkout", "k1") if isinstance(it, TaskRequest))
        identity = (request.wf_run_id, request.incarnation, request.thread, request.position, request.attempt)
        self.turn(ReportTaskRun(*identity, TaskStatus.SUCCESS, "receipt-1"))

    @property
    def history(self) -> History:
        return History.of("c1", self.written)

    def rows(self) -> WfRun | None:
        rows = [self.codec.decode(value) for table in self.tables.values() for value in table.values()]
        own = [row for row in rows if isinstance(row, WfRun | ThreadRun | WfRunExternalEvent)]
        return wf_run_of("c1", own) if own else None


@pytest.fixture
def rig() -> CartRig:
    return CartRig()


def test_every_event_is_one_line_with_the_record_that_caused_it(rig: CartRig) -> None:
    rig.start()
    rig.post("address-changed", "e1", "12 Harbour Street")
    head, *lines = history.lines(rig.history.entries)
    assert head.split() == ["seq", "event", "cause"]
    assert len(lines) == len(rig.written)
    caused = [line for line in lines if line.endswith("external-events[0]@0 e1")]
    words = [line.split()[2:4] for line in caused]
    assert words == [
        ["ExternalEventPosted", "address-changed"], ["Halt", "#0"], ["Halt", "#1"], ["ThreadHalted", "#1"],
        ["ThreadHalted", "#0"], ["SpawnChild", "#2"], ["NodeCompleted", "#2"], ["ThreadCompleted", "#2"],
        ["Resume", "#0"], ["Resume", "#1"],
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == [str(seq) for seq in range(1, len(lines) + 1)]


def test_a_deleted_id_that_is_used_again_has_two_incarnations(rig: CartRig) -> None:
    rig.post("checkout", "early")
    rig.start()
    rig.turn(DeleteWfRun("c1"))
    rig.start()
    text = "\n".join(history.text(rig.history))
    assert [len(it.entries) > 0 for it in rig.history.incarnations] == [True] * 3
    assert "c1, while there was no WfRun" in text
    assert "c1, started by wf-commands@0" in text
    assert "c1, started by wf-commands@2" in text


def test_show_counts_the_events_that_have_a_seq(rig: CartRig) -> None:
    rig.post("checkout", "early")
    rig.start()
    seqs = [history.seq_text(entry) for entry in rig.written]
    assert seqs == ["-", *map(str, range(1, len(seqs)))], "what came before the WfRun has none"
    title, *_ = wf_run_text.text(rig.history.state())
    assert title.endswith(f", {len(seqs) - 1} events")


def test_what_is_longer_than_the_width_is_cut_off_and_its_cause_is_not(rig: CartRig) -> None:
    rig.start()
    started = history.lines(rig.history.entries, width=40)[1]
    assert "…" in started
    assert started.endswith("wf-commands[0]@0")
    assert len(started) < 80


def test_replaying_the_log_gives_the_rows(rig: CartRig) -> None:
    rig.post("item-added", "e0", MUG)
    rig.start()
    rig.post("page-seen", "e1", "/")
    rig.turn(StopWfRun("c1"))
    replayed, rows = rig.history.state(), rig.rows()
    assert rows is not None
    rows.index = index_of(rows)
    replayed.index = index_of(replayed)
    assert difference(replayed, rows) is None


LETS_GO = {HaltReasonResolved, Resume, WfRunForked}
"""Events that name an ExternalEvent in a HaltReason that they take off: replay needs the reason, and not the event. A
fork brings along those that it names.
"""


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_says_which_external_event_its_replay_needs(kind: type) -> None:
    event = filled(kind, "value")
    if isinstance(event, SpawnChild):
        event = replace(event, type=ThreadType.INTERRUPT)
    names_one = "external_event_def=" in repr(event) and kind not in {*LETS_GO, CorrelationKeyChanged}
    assert external_events_needed_by(event) == ([("external_event_def", "external_event_id")] if names_one else [])


def test_an_external_event_needs_those_that_it_has_forgotten_and_not_itself() -> None:
    posted = filled(ExternalEventPosted, "value")
    assert external_events_needed_by(replace(posted, forgotten=[])) == []


def test_a_wf_run_that_is_over_can_still_be_seen_as_it_ended(rig: CartRig) -> None:
    rig.start()
    rig.post("item-added", "e1", MUG)
    rig.to_its_end()
    rig.post("page-seen", "late", "/")
    assert rig.history.state().threads == {}
    final = rig.history.final_state()
    assert final.status is Status.COMPLETED
    assert final.threads[0].variables["total_cents"] == 2 * 1450
    assert final.threads[0].variables["receipt"] == "receipt-1"
    assert final.seq == rig.written[-1].seq
    assert final.external_events["page-seen", "late"].status is ExternalEventStatus.UNCLAIMED


def test_a_wf_run_shows_variables_output_and_failure_of_its_entrypoint(rig: CartRig) -> None:
    rig.start()
    rig.post("item-added", "e1", MUG)
    rig.to_its_end()
    ended = rig.history.final_state()
    assert (ended.variables["receipt"], ended.failure) == ("receipt-1", None)
    assert ended.variables is ended.thread().variables is ended.thread("main").variables
    assert ended.ended_ms == rig.written[-1].time_ms
    assert len(repr(ended)) < 200
    assert "cart:0.0 COMPLETED" in repr(ended)
    with pytest.raises(
        NotInWfRun, match=r"expected thread 'mian' in WfRun 'c1', found 0 \(main\); threads that have completed"
    ):
        ended.thread("mian")


def test_a_wf_run_of_which_only_the_row_is_left_does_not_pretend_to_have_no_variables(rig: CartRig) -> None:
    rig.start()
    rig.to_its_end()
    with pytest.raises(NotInWfRun, match="it is COMPLETED, and its threads are gone"):
        _ = rig.history.state().variables
    with pytest.raises(NotInWfRun, match="has not started"):
        _ = new_run("w").failure


def test_every_event_can_be_told_to_programs_as_json(rig: CartRig) -> None:
    rig.start()
    rig.post("item-added", "e1", MUG)
    rig.to_its_end()
    for entry in rig.written:
        data = json.loads(json.dumps(history.entry_data(entry)))
        assert (data["seq"], data["event"]) == (entry.seq, type(entry.event).__name__)
        assert data["cause"]["offset"] == entry.cause.offset
    halts = [history.entry_data(entry) for entry in rig.written if type(entry.event).__name__ == "Halt"]
    assert halts[0]["fields"]["reason"] == {
        "reason": "PendingInterrupt", "external_event_def": "item-added", "external_event_id": "e1",
    }  # fmt: skip


# Masked values.


def everything_shown(rig: CartRig) -> str:
    """Everything that tools print of the WfRun, redacted."""
    redactor = Redactor(rig.view)
    entries = redactor.entries(rig.written)
    state = redactor.run(rig.history.final_state())
    return "\n".join(
        [
            *history.text(History.of("c1", entries)),
            *(json.dumps(history.entry_data(entry)) for entry in entries),
            *wf_run_text.text(state),
            json.dumps(wf_run_text.data(state)),
        ]
    )


def test_a_masked_variable_is_left_out_wherever_it_goes(rig: CartRig) -> None:
    rig.start()
    rig.post("item-added", "e1", MUG)
    rig.post("slot-chosen", "s1", "tomorrow")
    rig.post("checkout", "k1")  # the card is in the input of the task that is out
    shown = everything_shown(rig)
    assert CARD not in shown
    assert REDACTED in shown
    assert "Ann" in shown
    assert CARD in json.dumps([history.entry_data(entry) for entry in rig.written])


def test_a_masked_payload_is_left_out_also_when_it_comes_before_its_wf_run() -> None:
    rig = ShardRig()
    spec = yaml.safe_load(
        """
        name: vault
        entrypoint: main
        threads:
          main:
            variables: {code: {type: STR, masked: true}, word: {type: STR, masked: true}}
            interrupts: [{event: code-changed, handler: change, preemptive: true}]
            nodes:
              start: {kind: ENTRYPOINT, next: wait}
              wait: {kind: EXTERNAL_EVENT, event: opened, next: {to: done, set: [{var: word, op: ASSIGN, value: {output: wait}}]}}
              done: {kind: EXIT}
          change:
            variables: {INPUT: {type: STR, masked: true}}
            nodes:
              start: {kind: ENTRYPOINT, next: {to: done, set: [{var: code, op: ASSIGN, value: {var: INPUT}}]}}
              done: {kind: EXIT}
        """  # noqa: E501
    )
    rig.turn(PutExternalEventDef("code-changed"), PutExternalEventDef("opened"), PutWfSpec("vault", json.dumps(spec)))
    log = rig.log(
        ExternalEvent("v1", "code-changed", "e1", "secret-one"),
        RunWf("v1", "vault"),
        ExternalEvent("v1", "code-changed", "e2", "secret-two"),
        ExternalEvent("v1", "opened", "e3", "secret-three"),
    )
    shown = json.dumps([history.entry_data(entry) for entry in Redactor(rig.view).entries(log)])
    assert "secret" not in shown
    known = History.of("v1", log[:-3]).state()
    assert "secret" not in str(Redactor(rig.view).entries_of(known, log[-3:]))


def test_where_the_wf_spec_is_not_known_all_values_are_left_out(rig: CartRig) -> None:
    rig.start()
    rig.post("item-added", "e1", MUG)
    nothing_known = Redactor(ShardRig().view)
    state = wf_run_text.data(nothing_known.run(rig.history.state()))
    shown = str(nothing_known.entries(rig.written)) + json.dumps(state)
    assert "Ann" not in shown
    assert "Mug" not in shown


# The state.


def told(rig: CartRig) -> str:
    """The text of `halter show`, a minute after the start."""
    run = wf_run_text.understood(rig.history.state(), rig.view)
    return "\n".join(wf_run_text.text(run, now_ms=rig.now_ms + 60_000))


def test_the_state_says_why_a_wf_run_is_where_it_is(rig: CartRig) -> None:
    rig.start()
    rig.post("item-added", "e1", MUG)
    rig.turn(StopWfRun("c1"))
    rig.post("checkout", "k1")
    rig.post("address-changed", "e2", "elsewhere")
    text = told(rig)
    assert "c1  HALTED  cart:0.0" in text
    assert "held by MANUAL_HALT: until `halter resume c1`" in text
    assert "held by PENDING_INTERRUPT(e2): handler change-address starts when nothing else holds the thread" in text
    assert "held by PARENT_HALTED(0): until #0 main runs again" in text
    assert "then waits for ExternalEvent checkout since 2026-01-01T00:00:00.000Z (1 min)" in text
    assert 'address = "unknown"' in text
    assert "unclaimed: checkout k1" in text


def test_the_state_names_the_task_that_is_out(rig: CartRig) -> None:
    rig.start()
    rig.post("slot-chosen", "s1", "tomorrow")
    rig.post("checkout", "k1")
    out = "since 2026-01-01T00:00:00.000Z (1 min), until 2026-01-01T00:01:00.000Z (in 0 s)"
    assert f"waits for task charge-card, attempt 1 of 1, out {out}" in told(rig)


def test_external_events_of_a_wf_run_that_is_not_started_can_be_seen(rig: CartRig) -> None:
    rig.post("checkout", "k1")
    rows = rig.rows()
    assert rows is not None
    assert "no WfRun yet" in next(wf_run_text.text(rows))
