"""`halter spec delete`: what goes is shown, confirmed and waited for; what somebody needs is refused."""

import io
import json
import sys
from collections.abc import Iterator

import pytest

from halter.cli import main
from processors.core.records.commands import DeleteDefinition, PutExternalEventDef, PutTaskDef, PutWfSpec
from tests.core.test_task_defs import END, wf_spec
from tests.support.shard_rig import ShardRig
from tests.support.stored_records import RigClient, connected_to


@pytest.fixture
def client() -> Iterator[RigClient]:
    client = RigClient(ShardRig())
    client.rig.turn(PutTaskDef("charge"), PutExternalEventDef("go"), PutExternalEventDef("cart"))
    client.rig.turn(wf_spec("cart", a=1), wf_spec("cart", a=2), wf_spec("other", a=1))
    with connected_to(client):
        yield client


class Terminal(io.StringIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


def halter(capsys: pytest.CaptureFixture[str], *arguments: str, typed: str | None = None) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of `halter spec delete`; `typed` is what somebody answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halter", "spec", "delete", *arguments])
        patch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(f"{typed}\n"))
        with pytest.raises(SystemExit) as end:
            main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, " ".join(err.split())


def test_all_versions_of_a_wf_spec_go_or_one(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "cart", "--kind", "wfspec", "--version", "0.1", "--yes")
    assert (code, out.splitlines()) == (
        0,
        ["WfSpec cart: 0.1", "  RunWf then starts 0.0; WfRuns that run go on", "WfSpec cart: deleted"],
    )
    code, out, _ = halter(capsys, "cart", "--kind", "WfSpec", "--yes")
    assert out.splitlines()[:2] == ["WfSpec cart: 0.0", "  no RunWf can start it; WfRuns that run go on"]
    assert client.definitions().latest_wf_spec("cart") is None


def test_what_the_newest_wf_spec_names_is_refused_with_its_name(
    client: RigClient, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = halter(capsys, "charge", "--yes")
    assert (code, out, client.sent) == (1, "", [])
    assert "nothing was deleted: TaskDef 'charge': expected no WfSpec to use it, found cart:0.1, other:0.0" in err


def test_older_versions_that_keep_a_definition_are_told(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    threads = {"entrypoint": "main", "threads": json.loads(END)}
    client.rig.turn(*(PutWfSpec(name, json.dumps({"name": name} | threads)) for name in ("cart", "other")))
    code, out, _ = halter(capsys, "charge", "--yes")
    assert (code, out.splitlines()) == (
        0,
        [
            "TaskDef charge: 0.0",
            "  named by older versions of WfSpecs, which keep it: cart:0.0, cart:0.1, other:0.0",
            "TaskDef charge: deleted",
        ],
    )


def test_a_dry_run_deletes_nothing(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "go", "--dry-run")
    assert (code, client.sent) == (0, [])
    assert out.splitlines() == [
        "ExternalEventDef go: 0.0",
        "  named by no WfSpec",
        "ExternalEventDef go: would be deleted",
    ]


@pytest.mark.parametrize(
    ("typed", "code", "sent"),
    [("y", 0, 1), ("n", 1, 0), ("", 1, 0), (None, 1, 0)],
    ids=["yes", "no", "enter", "no terminal"],
)
def test_nothing_goes_before_somebody_has_confirmed_it(
    client: RigClient, capsys: pytest.CaptureFixture[str], typed: str | None, code: int, sent: int
) -> None:
    found, _, err = halter(capsys, "go", typed=typed)
    assert (found, len(client.sent)) == (code, sent)
    assert ("nothing was deleted" in err) == (not sent)
    assert ("pass --yes" in err) == (typed is None)


def test_a_deletion_that_is_repeated_changes_nothing(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert halter(capsys, "go", "--yes")[0] == 0
    code, out, _ = halter(capsys, "go", "--json")
    assert (code, len(client.sent)) == (0, 1)
    assert json.loads(out) == {
        "kind": "ExternalEventDef",
        "name": "go",
        "outcome": "was deleted before",
        "versions": [],
    }


def test_the_result_is_data_for_programs(client: RigClient, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "other", "--json", "--yes")
    assert (code, json.loads(out)) == (
        0,
        {
            "kind": "WfSpec",
            "name": "other",
            "outcome": "deleted",
            "versions": ["0.0"],
            "definitions_position": client.rig.view.position,
        },
    )
    (command,) = client.sent
    assert isinstance(command, DeleteDefinition)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("cart",), 2, "expected --kind with 'cart', which is the name of WfSpec and of ExternalEventDef; found none"),
        (("charge", "--version", "0.0"), 2, "expected it for a WfSpec alone, found TaskDef 'charge'"),
        (("chrage",), 1, "expected a definition named 'chrage', found none; did you mean 'charge'?"),
        (("go", "--kind", "TaskDef"), 1, "expected a TaskDef named 'go', found none; registered are: charge"),
        (("other", "--version", "3"), 1, "WfSpec 'other': expected version 3.* to be registered, found 0.0"),
        (("other", "--version", "x"), 2, "--version: expected MAJOR or MAJOR.REVISION, found 'x'"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_sent(
    client: RigClient, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    found, _, err = halter(capsys, *arguments, "--yes")
    assert (found, client.sent) == (code, [])
    assert sentence in err
