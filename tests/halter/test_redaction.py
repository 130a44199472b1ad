"""Commands print no masked value without --unmask, through whatever nodes it goes."""

import base64
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from halter.cli import history, runs, timeline
from halter.client.history import History
from halter.history.export import export
from halter.history.export_file import ExportFile
from halter.history.logged import Logged
from halter.otlp.sending import line, spans
from halter.otlp.trace import traces
from halter.show.history import Lines, entry_data
from halter.show.history_table import print_table
from halter.show.redaction import Redactor
from halter.timeline import html, recording, sequence
from processors.codec import Codec
from processors.core.records.commands import (
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
    ReportTaskProgress,
    ReportTaskRun,
    RunWf,
    StartTaskRun,
)
from processors.core.records.events import (
    Cause,
    Event,
    InputKept,
    LogEntry,
    Rejected,
    TaskAttemptEnded,
    TaskRequest,
    WfRunForked,
    WfRunStarted,
)
from processors.core.records.model import KeptInput, TaskStatus, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.records.values import VariableType
from processors.core.rules.context import Limits
from processors.core.rules.snapshots import snapshot_of
from processors.core.wf_spec.definitions import Definitions
from tests.support.recordings import RigSource
from tests.support.records import filled
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, printed

SECRET = "4111-1111"
Spec = dict[str, Any]

FORMS: dict[str, Any] = {
    "plain": {"var": "card"},
    "formatted": {"format": "card {0}", "args": [{"var": "card"}]},
    "listed": {"cast": [[{"var": "card"}], "STR"]},
    "copied": {"var": "copy"},
    "stored": {"var": "word"},
}
"""Expressions that give the secret; `copy` is a Variable that is not masked, `word` has an ExternalEvent's payload."""


def nodes(kind: str, secret: Any) -> dict[str, Spec]:
    """One or a few nodes that the secret goes through. Failures are handled where that is possible."""
    handled = [{"handler": "soothe"}]
    match kind:
        case "NOP":
            return {
                "n": {
                    "kind": "NOP",
                    "next": [{"to": "NEXT", "set": [{"var": "seen", "op": "ASSIGN", "value": secret}]}],
                }
            }
        case "NOP that fails":
            change = {"var": "number", "op": "ADD", "value": {"cast": [secret, "INT"]}}
            return {"n": {"kind": "NOP", "next": [{"to": "NEXT", "set": [change]}], "on_failure": handled}}
        case "TASK":
            return {"n": {"kind": "TASK", "task": "t", "input": {"x": secret}, "next": "NEXT"}}
        case "TASK that fails":
            limit = {"cast": [secret, "INT"]}
            return {"n": {"kind": "TASK", "task": "t", "timeout_s": limit, "next": "NEXT", "on_failure": handled}}
        case "EXTERNAL_EVENT":
            limit = {"cast": [secret, "INT"]}
            event = {"kind": "EXTERNAL_EVENT", "event": "go", "timeout_s": limit, "next": "NEXT", "on_failure": handled}
            return {"n": event}
        case "SLEEP":
            return {"n": {"kind": "SLEEP", "until_iso": secret, "next": "NEXT", "on_failure": handled}}
        case "START_THREAD":
            return {"n": {"kind": "START_THREAD", "thread": "kid", "input": {"given": secret}, "next": "NEXT"}}
        case "START_MULTIPLE_THREADS":
            return {"n": {"kind": "START_MULTIPLE_THREADS", "thread": "kids", "over": [secret, secret], "next": "NEXT"}}
        case "WAIT_FOR_THREADS":
            on_child_failure = [{"handler": "soothe"}]
            return {
                "n": {"kind": "START_THREAD", "thread": "failing", "input": {"handed": secret}, "next": "w"},
                "w": {"kind": "WAIT_FOR_THREADS", "threads": [{"output": "n"}], "next": "NEXT",
                      "on_child_failure": on_child_failure},
            }  # fmt: skip
        case "WAIT_FOR_THREADS that fails":
            threads = {"cast": [secret, "JSON_ARR"]}
            return {"n": {"kind": "WAIT_FOR_THREADS", "threads": threads, "next": "NEXT", "on_failure": handled}}
        case "WAIT_FOR_CONDITION":
            return {"n": {"kind": "WAIT_FOR_CONDITION", "condition": {"eq": [secret, secret]}, "next": "NEXT"}}
        case "WAIT_FOR_CONDITION that fails":
            condition = {"cast": [secret, "BOOL"]}
            return {"n": {"kind": "WAIT_FOR_CONDITION", "condition": condition, "next": "NEXT", "on_failure": handled}}
        case "THROW_EVENT":
            return {"n": {"kind": "THROW_EVENT", "event": "thrown", "content": secret, "next": "NEXT"}}
    raise AssertionError(kind)


KINDS = (
    "NOP", "NOP that fails", "TASK", "TASK that fails", "EXTERNAL_EVENT", "SLEEP", "START_THREAD",
    "START_MULTIPLE_THREADS", "WAIT_FOR_THREADS", "WAIT_FOR_THREADS that fails", "WAIT_FOR_CONDITION",
    "WAIT_FOR_CONDITION that fails", "THROW_EVENT",
)  # fmt: skip

ENDS: dict[str, Any] = {
    "returns": lambda secret: {"return": secret},
    "fails with a message": lambda secret: {"fail": {"name": "nope", "message": secret}},
    "fails with a content": lambda secret: {"fail": {"name": "nope", "message": "no", "content": secret}},
    "fails in computing": lambda secret: {"return": {"cast": [secret, "INT"]}},
    "waits for a child that fails": None,
    "goes on": None,
}


def document(steps: list[tuple[str, str]], end: tuple[str, str]) -> Spec:
    """A WfSpec with the secret in one node after the other."""
    copy = {"to": "word", "set": [{"var": "copy", "op": "ASSIGN", "value": {"var": "card"}}]}
    store = {"to": "s0n", "set": [{"var": "word", "op": "ASSIGN", "value": {"output": "word"}}]}
    main: Spec = {
        "start": {"kind": "ENTRYPOINT", "next": [copy]},
        "word": {"kind": "EXTERNAL_EVENT", "event": "spoken", "next": [store]},
    }
    for number, (kind, form) in enumerate(steps):
        text = json.dumps(nodes(kind, FORMS[form])).replace('"NEXT"', f'"s{number + 1}n"')
        text = text.replace('"next": "w"', f'"next": "s{number}w"').replace('"output": "n"', f'"output": "s{number}n"')
        main |= {f"s{number}{name}": node for name, node in json.loads(text).items()}
    last, (kind, form) = f"s{len(steps)}n", end
    if kind == "waits for a child that fails":
        main[last] = {"kind": "START_THREAD", "thread": "failing", "input": {"handed": FORMS[form]}, "next": "exit"}
        main["exit"] = {"kind": "EXIT"}
    elif kind == "goes on":
        main[last] = {"kind": "EXTERNAL_EVENT", "event": "go", "next": "exit"}
        main["exit"] = {"kind": "EXIT"}
    else:
        main[last] = {"kind": "EXIT", **ENDS[kind](FORMS[form])}
    return {
        "name": "leak",
        "entrypoint": "main",
        "threads": {"main": {"variables": VARIABLES, "nodes": main}, **THREADS},
    }


VARIABLES = {
    "card": {"type": "STR", "required": True, "masked": True},
    "word": {"type": "STR", "masked": True},
    "copy": {"type": "STR"},
    "seen": {"type": "STR"},
    "number": {"type": "INT", "default": 1},
}


def thread(variables: Spec, end: Spec, *edges: Spec) -> Spec:
    start = {"kind": "ENTRYPOINT", "next": list(edges) or "end"}
    return {"variables": variables, "nodes": {"start": start, "end": {"kind": "EXIT", **end}}}


THREADS = {
    "kid": thread({"given": {"type": "STR"}}, {"return": {"var": "given"}}),
    "kids": thread({"INPUT": {"type": "STR"}}, {"return": {"var": "INPUT"}}),
    "failing": thread(
        {"handed": {"type": "STR"}},
        {"fail": {"name": "no", "message": {"var": "handed"}, "content": {"var": "handed"}}},
    ),
    "soothe": thread(
        {"INPUT": {"type": "STR"}},
        {"return": {"var": "seen"}},
        {"to": "end", "set": [{"var": "seen", "op": "ASSIGN", "value": {"var": "INPUT"}}]},
    ),
}


def client_for(spec: Spec) -> RigClient:
    rig = ShardRig()
    rig.turn(PutExternalEventDef("spoken", VariableType.STR), PutExternalEventDef("go"), PutTaskDef("t"))
    rig.turn(PutWorkflowEventDef("thrown", VariableType.STR), PutWfSpec("leak", json.dumps(spec)))
    assert rig.view.latest_wf_spec("leak") is not None, "the WfSpec is accepted"
    return RigClient(rig)


def report_tasks(client: RigClient) -> None:
    reported = 0
    while True:
        requests = [client.rig.codec.decode(it.value) for it in client.rig.outputs if it.topic == "task-requests"]
        if reported == len(requests):
            return
        for it in requests[reported:]:
            assert isinstance(it, TaskRequest)
            reported += 1
            identity = (it.wf_run_id, it.incarnation, it.thread, it.position, it.attempt)
            # What a task worker was given may be in what it says of its progress.
            far = SECRET if SECRET in repr(it.input) else "far"
            client.rig.turn(StartTaskRun(*identity), ReportTaskProgress(*identity, far))
            client.rig.turn(ReportTaskRun(*identity, TaskStatus.SUCCESS, "fine"))


def trace_of(wf_run_id: str, source: Any) -> str:
    """Return what `halter export --otlp FILE` writes."""
    logged = timeline.redacted(list(source.events(wf_run_id)), source.definitions())
    return "".join(line(spans(made, source)) for made in traces(wf_run_id, logged))


def everything_printed(client: RigClient, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """The outputs of the commands about a WfRun, from its start to its end."""
    values = [f"card={SECRET}"]
    yield printed(client, runs.run, "leak", "w", values, as_json=True, capsys=capsys)
    for as_json in (False, True):
        yield printed(client, runs.show, "w", as_json=as_json, capsys=capsys)
    yield printed(client, runs.send, "w", "spoken", SECRET, event_id="e1", as_json=True, capsys=capsys)
    report_tasks(client)
    yield printed(client, runs.send, "w", "go", event_id="e2", as_json=False, capsys=capsys)
    report_tasks(client)
    for command in (runs.show, history.history):
        for as_json in (False, True):
            yield printed(client, command, "w", as_json=as_json, capsys=capsys)
    for mermaid in (False, True):
        yield printed(client, timeline.timeline, "w", Path("-"), mermaid=mermaid, capsys=capsys)
    yield trace_of("w", RigSource(client.rig))
    newest = client.history("w").entries[-1].seq
    for as_json in (False, True):
        for seq in range(1, newest + 1, newest // 4 + 1):
            yield printed(client, history.state, "w", str(seq), as_json=as_json, capsys=capsys)
            yield printed(client, history.diff, "w", str(seq - 1), str(newest - 1), as_json=as_json, capsys=capsys)


steps_of = st.tuples(st.sampled_from(KINDS), st.sampled_from(sorted(FORMS)))
ends_of = st.tuples(st.sampled_from(sorted(ENDS)), st.sampled_from(sorted(FORMS)))


@example([("THROW_EVENT", "plain")], ("returns", "plain"))
@example([(kind, "copied") for kind in KINDS], ("fails with a message", "formatted"))
@example([(kind, "stored") for kind in KINDS], ("waits for a child that fails", "copied"))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps_of, max_size=5), ends_of)
def test_a_masked_value_is_left_out_whatever_is_done_with_it(
    capsys: pytest.CaptureFixture[str], steps: list[tuple[str, str]], end: tuple[str, str]
) -> None:
    client = client_for(document(steps, end))
    for text in everything_printed(client, capsys):
        assert SECRET not in text
    clear = printed(client, history.history, "w", unmask=True, as_json=True, capsys=capsys)
    assert SECRET in clear, "and --unmask shows it"


def test_what_is_no_secret_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    client = client_for(document([("TASK", "plain")], ("fails with a message", "plain")))
    text = "\n".join(everything_printed(client, capsys))
    assert '"fine"' in text, "the output of a task"
    assert "number = 1" in text
    assert "nope ([redacted])" in text, "the name of a failure"


def test_a_tail_of_a_former_wf_run_is_not_judged_by_the_wf_spec_of_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    client = client_for(document([("THROW_EVENT", "plain")], ("goes on", "plain")))
    minute_ms = 60_000
    client.rig.turn(
        PutWfSpec("open", json.dumps({"name": "open", "entrypoint": "m", "threads": {"m": thread({}, {})}}))
    )
    client.rig.turn(RunWf("w", "leak", {"card": SECRET}))
    client.rig.now_ms += 60 * minute_ms
    client.post("w", "spoken", SECRET, event_id="e1", thread=None)
    client.rig.turn(DeleteWfRun("w"))
    client.rig.now_ms += minute_ms
    client.rig.turn(RunWf("w", "open", {}))
    assert SECRET not in printed(client, history.history, "w", as_json=True, capsys=capsys)


# Where the WfSpec is not known: each event and row by itself, so that none can be forgotten.

CLEAR: dict[type, set[str]] = {
    Rejected: {"message"},
    TaskAttemptEnded: {"message"},
    InputKept: {"key"},
}
"""Fields of events that are shown as they are: sentences of the engine or a task worker, and the id of a WfRun."""


def with_secrets(event: type) -> Any:
    """Return an event with the secret in every value; of a row that it carries, not in what a task worker said."""
    made = filled(event, SECRET)
    if not isinstance(made, WfRunForked):
        return made
    threads = []
    for it in made.threads:
        assert it.node.task is not None
        threads.append(replace(it, node=replace(it.node, task=replace(it.node.task, message="clear"))))
    return replace(made, threads=threads)


@pytest.mark.parametrize("event", get_args(Event), ids=lambda event: event.__name__)
def test_no_event_shows_a_value(event: type) -> None:
    redactor = Redactor(ShardRig().view)
    entry = LogEntry("w", 1, 1, 0, filled(Cause, "cause"), with_secrets(event))
    (shown,) = redactor.entries([entry])
    told = {field.name for field in fields(event) if SECRET in repr(getattr(shown.event, field.name))}
    assert told == CLEAR.get(event, set())


@pytest.mark.parametrize("event", get_args(Event), ids=lambda event: event.__name__)
def test_no_output_shows_a_value_of_an_event(event: type, tmp_path: Path) -> None:
    shown_as_they_are = {name: b"w" if name == "key" else "clear" for name in CLEAR.get(event, ())}
    entry = LogEntry("w", 1, 1, 0, filled(Cause, "cause"), replace(with_secrets(event), **shown_as_they_are))
    export(OneEvent(entry), ["w"], tmp_path / "x", 0)  # type: ignore[arg-type]
    with ExportFile(tmp_path / "x") as found:
        (exported,) = found.events("w")
    lines = [json.loads(line) for line in gzip.decompress((tmp_path / "x").read_bytes()).splitlines()]
    values = [base64.b64decode(line["value"]) for line in lines if line["kind"] == "event"]
    redactor = Redactor(Definitions())
    shown = [*redactor.entries([entry]), redactor.following()(entry), exported.entry]
    printed = io.StringIO()
    for it in shown:
        print_table(History.of("w", [it]), Console(file=printed, width=4_000))
        print(*Lines(times=True).of([it]), json.dumps(entry_data(it)), file=printed)
        data = recording("w", [Logged(0, it)], Definitions())
        print(html(data), sequence(data), file=printed)
    if isinstance(entry.event, WfRunStarted):
        print(trace_of("w", OneEvent(entry)), file=printed)
    assert len(values) == 1
    assert SECRET.encode() not in values[0]
    assert SECRET not in printed.getvalue()


class OneEvent:
    """A Source that has one event, and no WfSpec that would say what is masked."""

    where, partitions, limits, codec = "in a test", 1, Limits(), Codec.load()

    def __init__(self, entry: LogEntry) -> None:
        self._entry = entry

    def events(self, _wf_run_id: str, **_which: bool) -> Iterator[Logged]:
        yield Logged(0, self._entry)

    def definitions(self) -> Definitions:
        return Definitions()

    def definition_records(self) -> Iterator[Any]:
        return iter(())

    def records(self, _places: object) -> dict[Any, Any]:
        return {}


def test_an_event_that_nobody_has_judged_is_not_shown_as_it_is() -> None:
    class Unheard:
        content = SECRET

    unheard: Any = Unheard()
    with pytest.raises(AssertionError, match="unreachable"):
        Redactor(ShardRig().view).entries([LogEntry("w", 1, 1, 0, filled(Cause, "cause"), unheard)])


def test_no_fork_shows_a_value() -> None:
    """Neither the command nor the event, whether the WfSpec is known or not."""
    client = client_for(document([("TASK", "plain")], ("goes on", "plain")))
    client.rig.turn(RunWf("w", "leak", {"card": SECRET}))
    client.rig.turn(ExternalEvent("w", "spoken", "e1", SECRET), ExternalEvent("w", "spoken", "e2", SECRET))
    command = ForkWfRun("fork", snapshot_of(client.rig.shard.wf_runs["w"]))
    assert SECRET in repr(command)
    entries = client.rig.log(command)
    assert SECRET in repr(entries)
    for definitions in (client.rig.view, Definitions()):
        shown = Redactor(definitions).entries(entries)
        assert SECRET not in repr(shown)
        (_, log), *_ = Redactor(definitions).judged(entries)
        assert SECRET not in repr(log.command(command, "main"))
    assert SECRET in repr(entries)


def test_no_row_shows_a_value() -> None:
    run: WfRun = filled(WfRun, "w")
    thread: ThreadRun = filled(ThreadRun, SECRET)
    event: WfRunExternalEvent = filled(WfRunExternalEvent, SECRET)
    run.threads, run.external_events = {1: thread}, {event.key: event}
    run.kept_inputs = [filled(KeptInput, SECRET)]
    shown = Redactor(ShardRig().view).run(run)
    rows: list[Any] = [*shown.threads.values(), *shown.external_events.values(), *shown.kept_inputs]
    told = {(type(row), it.name) for row in rows for it in fields(row) if SECRET in repr(getattr(row, it.name))}
    assert told == {(ThreadRun, "node"), (KeptInput, "key")}
    assert thread.node.task is not None
    assert repr(thread.node).count(SECRET) == thread.node.task.message.count(SECRET) == 1  # type: ignore[union-attr]
