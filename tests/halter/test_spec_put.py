"""`halter spec put`: all definitions of all files are registered, or nothing is sent."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halter.cli import main
from halter.client import Client, DefinitionRefused, NoOutcome, NotDelivered, PlaceUnknown
from processors.core.records.commands import (
    DefinitionKind,
    DeleteDefinition,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
)
from processors.core.records.values import VariableType
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, connected_to

FOUR = "external_events: {go: {}, add: {type: INT}}\nworkflow_events: {told: {type: STR}}\ntasks: {charge: {}}\n"


def wf_spec(name: str = "w", *, variables: str = "{}", event: str = "go", task: str = "charge") -> str:
    return f"""\
  - name: {name}
    entrypoint: main
    threads:
      main:
        variables: {variables}
        nodes:
          start: {{kind: ENTRYPOINT, next: wait}}
          wait: {{kind: EXTERNAL_EVENT, event: {event}, next: pay}}
          pay: {{kind: TASK, task: {task}, next: done}}
          done: {{kind: EXIT}}
"""


REQUIRED = json.dumps(
    {
        "name": "w",
        "entrypoint": "main",
        "threads": {
            "main": {
                "variables": {"n": {"type": "INT", "required": True}},
                "nodes": {"a": {"kind": "ENTRYPOINT", "next": "b"}, "b": {"kind": "EXIT"}},
            }
        },
    }
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client() -> Iterator[RigClient]:
    client = RigClient(ShardRig())
    with connected_to(client):
        yield client


class Answer:
    """The output of a command and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def table(self) -> dict[str, str]:
        """Definition -> outcome."""
        rows = (line for line in self.out.splitlines() if line and not line.startswith(" "))
        return {row[13:]: row[:13].strip() for row in rows}


def put(capsys: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", "spec", "put", *arguments])
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Answer(int(code), *capsys.readouterr())


def rows(client: RigClient) -> int:
    return client.rig.view.position


ALREADY_THERE: dict[str, tuple[Any, str]] = {
    "a TaskDef is another": (PutTaskDef("charge", output=VariableType.INT), FOUR),
    "a WorkflowEventDef is another": (PutWorkflowEventDef("told", VariableType.INT), FOUR),
    "a required Variable had another type": (
        PutWfSpec("w", REQUIRED),
        FOUR + "wf_specs:\n" + wf_spec(variables="{n: {type: STR}}"),
    ),
    "a queue is not declared": (None, FOUR.replace("charge: {}", "charge: {queue: slow}")),
    "a TaskDef is not registered": (None, FOUR + "wf_specs:\n" + wf_spec(task="other")),
    "an ExternalEventDef is deleted": (
        DeleteDefinition(DefinitionKind.EXTERNAL_EVENT_DEF, "gone"),
        FOUR + "wf_specs:\n" + wf_spec(event="gone"),
    ),
}


REFERS_TO_NOTHING = {"a TaskDef is not registered", "an ExternalEventDef is deleted"}


@pytest.mark.parametrize("why", ALREADY_THERE)
def test_nothing_is_sent_if_anything_would_be_refused(
    why: str, client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, text = ALREADY_THERE[why]
    client.rig.turn(PutExternalEventDef("gone"), *([] if before is None else [before]))
    registered = rows(client)
    (folder / "defs.yaml").write_text(text)
    answer = put(capsys, "defs.yaml")
    assert (answer.code, client.sent, rows(client)) == (1, [], registered), answer.out
    assert set(answer.table.values()) == {"refused", "not sent"}, answer.out
    assert "defs.yaml:" in answer.out
    assert "nothing was registered: 1 of " in answer.err
    assert ("`halter spec put FILE …` registers" in answer.err) == (why in REFERS_TO_NOTHING)
    (as_data,) = [it for it in json.loads(put(capsys, "defs.yaml", "--json").out) if it["outcome"] == "refused"]
    assert as_data["problems"][0].keys() == {"code", "message", "file", "line", "column"}


def test_each_definition_is_new_or_a_new_version_or_unchanged(
    client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A WfSpec may stand before what it names.
    (folder / "w.yaml").write_text("wf_specs:\n" + wf_spec())
    (folder / "defs.yaml").write_text(FOUR)
    answer = put(capsys, "w.yaml", "defs.yaml")
    assert (answer.code, answer.err) == (0, "")
    names = ["ExternalEventDef go", "ExternalEventDef add", "WorkflowEventDef told", "TaskDef charge", "WfSpec w 0.0"]
    assert answer.table == dict.fromkeys(names, "new")
    assert put(capsys, "w.yaml", "defs.yaml").table == dict.fromkeys(names, "unchanged")
    (folder / "defs.yaml").write_text(FOUR.replace("add: {type: INT}", "add: {type: STR}"))
    (folder / "w.yaml").write_text("wf_specs:\n" + wf_spec(variables="{n: {type: INT}}"))
    changed = {name: outcome for name, outcome in put(capsys, "defs.yaml", "w.yaml").table.items() if "new" in outcome}
    assert changed.pop("WfSpec w 0.1") == "new version"
    assert list(changed.values()) == ["new version"]
    assert next(iter(changed)).startswith("ExternalEventDef add ")


CHANGED = """
external_events: {add: {type: STR}}
tasks: {charge: {queue: slow, input: {cents: INT, note: {type: STR, optional: true}}, output: INT}}
"""


@pytest.mark.parametrize("dry", [True, False])
def test_what_changes_is_told_also_without_doing_it(
    dry: bool, client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "rig", ShardRig(queues=["slow"]))
    monkeypatch.setattr(client, "topics", replace(client.topics, task_queues={"slow": "task-requests-slow"}))
    client.rig.turn(PutExternalEventDef("add", VariableType.INT), PutTaskDef("charge", {"cents": VariableType.INT}))
    (folder / "defs.yaml").write_text(
        CHANGED + "wf_specs:\n" + wf_spec(event="add").replace("charge,", "charge, input: {cents: 5},")
    )
    before = rows(client)
    answer = put(capsys, "defs.yaml", *(["--dry-run"] if dry else []))
    assert answer.out.splitlines() == [
        "new version  ExternalEventDef add 0.1",
        "             type INT → STR",
        "new version  TaskDef charge 0.1",
        "             new optional input note: STR",
        "             output unchecked → INT",
        "             queue task-requests → slow",
        "new          WfSpec w 0.0",
    ]
    assert (rows(client) == before) == (client.sent == []) == dry
    assert ("nothing was sent" in answer.err) == dry
    assert set(put(capsys, "defs.yaml").table.values()) == ({"new", "new version"} if dry else {"unchanged"})


def test_a_change_of_a_task_def_that_not_all_can_bear_is_refused_at_its_line(
    client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.rig.turn(PutTaskDef("charge", {"cents": VariableType.INT}))
    (folder / "defs.yaml").write_text("tasks:\n  charge:\n    input: {cents: STR}\n")
    answer = put(capsys, "defs.yaml", "--dry-run")
    assert answer.code == 1
    assert "defs.yaml:3:13: tasks.charge.input.cents: expected INT as in 0.0, found STR; task workers" in answer.out
    assert "(charge-2)" in answer.out


def test_what_was_deleted_is_new(client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client.rig.turn(PutTaskDef("charge"), DeleteDefinition(DefinitionKind.TASK_DEF, "charge"))
    (folder / "defs.yaml").write_text("tasks: {charge: {output: INT}}\n")
    assert put(capsys, "defs.yaml").table == {"TaskDef charge": "new"}


def test_definitions_come_from_standard_input(
    client: RigClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.rig.turn(PutTaskDef("charge", output=VariableType.INT))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FOUR.encode())))
    answer = put(capsys, "-")
    assert (answer.code, client.sent) == (1, [])
    assert "-:3:9: tasks.charge.output: " in answer.out


def test_what_another_client_registered_meanwhile_is_told_with_what_is_registered(
    client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "defs.yaml").write_text(FOUR + "wf_specs:\n" + wf_spec())
    client.before_put = lambda: client.rig.turn(PutWorkflowEventDef("told", VariableType.INT)) and None
    answer = put(capsys, "defs.yaml")
    assert answer.code == 1
    assert answer.table == {
        "ExternalEventDef go": "new",
        "ExternalEventDef add": "new",
        "WorkflowEventDef told": "refused",
        "TaskDef charge": "new",
        "WfSpec w 0.0": "new",
    }
    assert "4 of 5 definitions are registered: another client registered something meanwhile" in answer.err
    assert [command.name for command in client.sent] == ["go", "add", "told", "charge", "w"]


def test_what_only_the_workers_refuse_is_laid_to_their_release_or_settings(
    client: RigClient, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.topics = replace(client.topics, task_queues={"slow": "task-requests-slow"})
    (folder / "defs.yaml").write_text("tasks: {charge: {queue: slow}}\n")
    answer = put(capsys, "defs.yaml")
    assert (answer.code, answer.table) == (1, {"TaskDef charge": "refused"})
    assert "0 of 1 definition is registered: this client would take them, so the workers have other " in answer.err


def test_a_program_whose_definitions_are_refused_in_part_is_told_which_are_registered(
    client: RigClient, folder: Path
) -> None:
    more = ", ".join(f"t{n}: {{}}" for n in range(10))
    (folder / "defs.yaml").write_text(FOUR.replace("{charge: {}}", f"{{charge: {{}}, {more}}}"))
    client.before_put = lambda: client.rig.turn(PutWorkflowEventDef("told", VariableType.INT)) and None
    with pytest.raises(DefinitionRefused) as refused:
        Client.register(client, "defs.yaml")  # type: ignore[arg-type]
    first, registered = str(refused.value).rsplit("; ", 1)
    assert "'told'" in first
    assert "another client registered something meanwhile" in first
    names = "'go', 'add', 'charge', 't0', 't1', 't2', 't3', 't4', 't5', 't6'"
    assert registered == f"13 of 14 are registered: {names} and 3 more"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NoOutcome("no worker"), 1, "1 of 3 definitions is registered: no worker"),
        (PlaceUnknown("no place"), 1, "1 of 3 definitions is registered: no place"),
        (NotDelivered("no broker"), 1, "1 of 3 definitions is registered: no broker"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, BaseException) else "",
)
def test_a_definition_of_which_nothing_is_heard_is_told_and_so_are_those_behind_it(
    client: RigClient,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    (folder / "defs.yaml").write_text("tasks: {a: {}, b: {}, c: {}}\n")

    def fails_at_the_second() -> None:
        if client.sent:
            raise error

    client.before_put = fails_at_the_second
    answer = put(capsys, "defs.yaml")
    assert answer.code == code
    assert answer.table == {"TaskDef a": "new", "TaskDef b": "not known", "TaskDef c": "not known"}
    assert said in answer.err
