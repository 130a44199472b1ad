"""Every command that takes the name of a definition says which one was probably meant, if the name is mistyped."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from halter import CommandRejected, CorrelatedEventRejected
from halter.cli import COMMANDS, load, main
from halter.files.definition_files import read_definition_file
from tests.halter.test_show import DEFINITIONS
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, connected_to

NAMES_OF_DEFINITIONS = {"SPEC", "EVENT", "NAME", "FILE|MODULE:NAME|NAME"}
"""Words of help texts for an argument that may be such a name."""

SPEC = """
wf_specs:
  - name: other
    entrypoint: main
    threads:
      main:
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: EXTERNAL_EVENT, event: ggo, next: pay}
          pay: {kind: TASK, task: chrage, next: tell}
          tell: {kind: THROW_EVENT, event: toldd, next: done}
          done: {kind: EXIT}
"""
TYPED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (("crat", "--id", "w2"), ("; did you mean 'cart'?",)),
    "send": (("w", "pokee"), ("; did you mean 'poke'?",)),
    "correlate": (("k", "pokee"), ("; did you mean 'poke'?",)),
    "correlations": (("k", "pokee"), ("; did you mean 'poke'?",)),
    "spec show": (("crat",), ("; did you mean 'cart'?",)),
    "spec get": (("gpo",), ("found none; did you mean 'go'? `halter spec list` shows all",)),
    "spec delete": (("gpo",), ("found none; did you mean 'go'? `halter spec list` shows all",)),
    "spec put": (("defs.yaml",), ("(did you mean go?)", "(did you mean charge?)", "(did you mean told?)")),
    "schemas show": (("RunWff",), ("did you mean 'RunWf'?",)),
}
"""Command -> what was typed -> the message."""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RigClient]:
    monkeypatch.chdir(tmp_path)
    registered = tmp_path / "registered.yaml"
    text = DEFINITIONS.replace("name: s\n", "name: cart\n").lstrip()
    registered.write_text(text + "tasks: {charge: {}}\nworkflow_events: {told: {}}\n")
    (tmp_path / "defs.yaml").write_text(SPEC)
    rig = ShardRig()
    rig.turn(*read_definition_file(registered).commands)
    client = RigClient(rig)
    client.run("cart", {}, wf_run_id="w", major=None, revision=None)
    with connected_to(client):
        yield client


def halter(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    return end.value.code, "".join(capsys.readouterr())


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("command", TYPED)
def test_the_name_that_was_probably_meant_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed, said = TYPED[command]
    code, words = halter(capsys, *command.split(), *typed)
    assert code == 1
    for sentence in said:
        assert sentence in " ".join(words.split())


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("command", ["run", "spec show"])
def test_where_no_name_is_near_those_that_are_registered_are_told(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, words = halter(capsys, *command.split(), "zzz")
    assert code == 1
    assert "; registered are: cart" in " ".join(words.split())


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("command", ["run", "spec show"])
def test_of_a_version_that_there_is_not_the_versions_are_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, words = halter(capsys, *command.split(), "cart", "--version", "7.7")
    assert (code, "did you mean" in words) == (1, False)
    assert "(registered: 0.0)" in words


@pytest.mark.usefixtures("client")
def test_nothing_is_suggested_where_a_refusal_is_about_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, words = halter(capsys, "run", "cart", "--id", "w")
    assert (code, "did you mean" in words, "registered:" in words) == (1, False, False)


LATE = """
external_events: {late: {}}
wf_specs:
  - name: late
    entrypoint: main
    threads: {main: {nodes: {start: {kind: ENTRYPOINT, next: done}, done: {kind: EXIT}}}}
"""


@pytest.mark.parametrize(
    ("version", "is_there"), [((None, None), True), ((0, None), True), ((0, 0), True), ((7, None), False)]
)
def test_who_needed_a_wf_spec_that_has_come_since_is_told_to_do_it_again(
    client: RigClient, tmp_path: Path, version: tuple[int | None, int | None], is_there: bool
) -> None:
    major, revision = version
    posted = client.run("late", {}, wf_run_id="w2", major=major, revision=revision)
    register_what_is_late(client, tmp_path)
    with pytest.raises(CommandRejected) as refused:
        posted.outcome(0)
    assert ("registered since: do it again" in str(refused.value)) is is_there
    assert ("(registered: 0.0)" in str(refused.value)) is not is_there


def test_who_posted_an_event_whose_def_has_come_since_is_told_to_do_it_again(client: RigClient, tmp_path: Path) -> None:
    posted = client.post("w", "late", None, event_id=None, thread=None)
    correlated = client.post_correlated("k", "late", None, event_id=None)
    register_what_is_late(client, tmp_path)
    with pytest.raises(CommandRejected, match="registered since: do it again"):
        posted.outcome(0)
    with pytest.raises(CorrelatedEventRejected, match="registered since: do it again"):
        correlated.outcome(0)


def register_what_is_late(client: RigClient, folder: Path) -> None:
    path = folder / "late.yaml"
    path.write_text(LATE.lstrip())
    client.rig.turn(*read_definition_file(path).commands)


def test_every_command_that_takes_the_name_of_a_definition_is_tried_here() -> None:
    commands = {}
    for name in COMMANDS:
        command = load(name)
        inner = getattr(command, "commands", {})
        commands |= {f"{name} {key}": it for key, it in inner.items()} if inner else {name: command}
    taking = {
        name
        for name, command in commands.items()
        if any(
            parameter.metavar in NAMES_OF_DEFINITIONS and not parameter.opts[0].startswith("-")
            for parameter in command.params
        )
    }
    assert taking == TYPED.keys() - {"spec put"}
