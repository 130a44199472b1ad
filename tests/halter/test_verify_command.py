"""`halter verify` of an export, with these rules, with other rules, and with another WfSpec."""

import json
from pathlib import Path
from typing import Any

import pytest

from halter.files.definition_files import read_definition_file
from halter.history.export import export
from processors.core.records.commands import (
    ExternalEvent,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.model import TaskStatus
from processors.core.rules.versions import RULES
from tests.support.checkout_copy import HALTS_WITH_A_TASK_OUT, ROOT, copy_with_a_change
from tests.support.command_line import halter
from tests.support.recordings import RigSource
from tests.support.shard_rig import START_MS, ShardRig

CART = ROOT / "examples" / "cart" / "cart.yaml"
CARD = "card-12345678"
MUG = {"sku": "mug", "name": "Mug", "quantity": 2, "price_cents": 1450}
WF_RUNS = ["cart-1", "cart-2", "cart-3"]


@pytest.fixture(scope="module")
def carts() -> ShardRig:
    """Carts whose customers changed the address while the card was charged."""
    rig = ShardRig()
    rig.turn(*read_definition_file(CART).commands)
    for wf_run_id in WF_RUNS:
        rig.turn(RunWf(wf_run_id, "cart", {"customer": "Ann", "card": CARD}))
        contents = {"item-added": MUG, "slot-chosen": "monday", "checkout": None}
        for event, content in (contents | {"address-changed": "12 Harbour Street"}).items():
            rig.now_ms += 1_000
            rig.turn(ExternalEvent(wf_run_id, event, f"{event}-1", content))
        run = rig.shard.wf_runs[wf_run_id]
        node = run.threads[0].node
        assert node.task is not None
        task = (wf_run_id, run.incarnation, 0, node.position, node.task.attempt)
        rig.turn(ReportTaskRun(*task, TaskStatus.SUCCESS, "receipt-1"))
    return rig


@pytest.fixture(scope="module")
def incident(carts: ShardRig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the carts."""
    file = tmp_path_factory.mktemp("incident") / "incident.halter"
    export(RigSource(carts), WF_RUNS, file, START_MS)
    return file


@pytest.fixture(scope="module")
def unnamed(carts: ShardRig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the carts whose events do not say which rules decided them."""
    file = tmp_path_factory.mktemp("incident") / "unnamed.halter"
    export(RigSource(carts, rules=None), WF_RUNS, file, START_MS)
    return file


@pytest.fixture(scope="module")
def changed_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_with_a_change(tmp_path_factory.mktemp("rules"), *HALTS_WITH_A_TASK_OUT)


@pytest.fixture(scope="module")
def named_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the same change, which is named there."""
    folder = copy_with_a_change(tmp_path_factory.mktemp("rules"), *HALTS_WITH_A_TASK_OUT)
    versions = folder / "processors" / "core" / "rules" / "versions.py"
    text = versions.read_text(encoding="utf-8")
    change = f'RuleChange({RULES + 1}, "still-before-halted", "a task does not hold it up", NOTHING, "ThreadHalted"),'
    versions.write_text(text.replace("...]] = (", f"...]] = ({change}"), encoding="utf-8")
    return folder


def found(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, err = halter(capsys, "verify", *map(str, arguments), "--json")
    assert out, err
    return code, json.loads(out)


def test_the_same_rules_decide_the_same(capsys: pytest.CaptureFixture[str], incident: Path) -> None:
    code, told = found(capsys, "--file", incident)
    assert (code, told["same"], told["differences"], told["not_verified"]) == (0, True, [], {})
    assert told["wf_runs_started"] == len(WF_RUNS)
    assert found(capsys, "--file", incident, "cart-2")[1]["wf_runs_started"] == 1


def test_a_checkout_of_the_same_rules_decides_the_same(capsys: pytest.CaptureFixture[str], incident: Path) -> None:
    code, told = found(capsys, "--file", incident, "--rules", ROOT)
    assert (code, told["same"], told["not_verified"]) == (0, True, {})


def test_a_rule_that_somebody_changed_is_found_in_an_old_history(
    capsys: pytest.CaptureFixture[str], incident: Path, changed_rules: Path
) -> None:
    code, out, _ = halter(capsys, "verify", "--file", str(incident), "--rules", str(changed_rules), "--show", "1")
    assert code == 1
    assert f"{len(WF_RUNS)} WfRuns differ" in out
    assert "because of external-events[0]@3 address-changed-1: an event that was not recorded" in out
    assert "decided   E  ThreadHalted         #0" in out
    assert 'state     #0 status: "HALTING" recorded, "HALTED" decided' in out
    assert CARD not in out


EXPECTED = {"since_rules": RULES + 1, "rule": "still-before-halted", "says": "a task does not hold it up"}


def test_what_differs_by_a_change_that_other_rules_name_is_expected(
    capsys: pytest.CaptureFixture[str], incident: Path, named_rules: Path
) -> None:
    code, told = found(capsys, "--file", incident, "--rules", named_rules, "--show", 1)
    assert (code, told["same"], told["wf_runs_that_differ"], told["kinds"]) == (0, False, 0, {})
    assert told["expected"] == [EXPECTED | {"wf_runs": len(WF_RUNS)}]
    [shown] = told["differences"]
    assert (shown["recorded_by_rules"], shown["expected_since_rules"]) == (RULES, RULES + 1)
    _, out, _ = halter(capsys, "verify", "--file", str(incident), "--rules", str(named_rules))
    assert "nothing differs but for changes of the rules" in out
    assert f"expected since rules {RULES + 1}: 3 WfRuns differ: a task does not hold it up (still-before-halted)" in out
    assert f"an event that was not recorded, expected since rules {RULES + 1}" in out


def test_nothing_is_expected_of_events_that_name_no_rules_until_somebody_does(
    capsys: pytest.CaptureFixture[str], unnamed: Path, named_rules: Path
) -> None:
    code, told = found(capsys, "--file", unnamed, "--rules", named_rules)
    assert (code, told["wf_runs_that_differ"], told["expected"]) == (1, len(WF_RUNS), [])
    assert any("--log-rules" in note for note in told["notes"])
    code, told = found(capsys, "--file", unnamed, "--rules", named_rules, "--log-rules", RULES)
    assert (code, told["expected"]) == (0, [EXPECTED | {"wf_runs": len(WF_RUNS)}])


def test_events_that_newer_rules_decided_are_told(
    capsys: pytest.CaptureFixture[str], carts: ShardRig, tmp_path: Path, named_rules: Path
) -> None:
    file = tmp_path / "newer.halter"
    export(RigSource(carts, rules=RULES + 1), WF_RUNS, file, START_MS)
    code, told = found(capsys, "--file", file)
    assert (code, told["same"], told["newer_rules"]) == (0, True, RULES + 1)
    assert [note for note in told["notes"] if f"newer than those of this version ({RULES}):" in note]
    _, told = found(capsys, "--file", file, "--rules", named_rules)
    assert told["newer_rules"] is None
    assert not any("newer than" in note for note in told["notes"])


def test_another_wf_spec_tells_what_it_would_have_done(
    capsys: pytest.CaptureFixture[str], incident: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cart.yaml"
    halting = "{event: address-changed, handler: change-address, preemptive: true}"
    text = CART.read_text(encoding="utf-8")
    assert halting in text
    file.write_text(text.replace(halting, "{event: address-changed, handler: change-address, halt: false}"))
    code, told = found(capsys, "--file", incident, "--spec", file)
    assert (code, told["wf_runs_that_differ"]) == (1, len(WF_RUNS))
    assert told["ends"] == [{"recorded": "COMPLETED", "decided": "COMPLETED", "wf_runs": len(WF_RUNS)}]
    assert {it["recorded"]["event"] for it in told["differences"]} == {"Halt"}
    assert {it["decided"]["event"] for it in told["differences"]} == {"InterruptAccepted"}
    assert CARD not in json.dumps(told)
    assert found(capsys, "--file", incident, "--spec", CART)[1]["same"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nobody"], 1, "there is no event of a WfRun 'nobody'"),
        (["cart"], 1, "did you mean 'cart-1'"),
        (["partition/0"], 2, "partition/0: expected the id of a WfRun, found a partition"),
        (["--rules", "/nowhere"], 1, "/nowhere: expected a checkout of Halter"),
        (["--rules", str(ROOT / "docs")], 1, "found none of these"),
        (["--all"], 2, "--all: expected no --file beside it"),
        (["--processes", "2"], 2, "--processes: only with --all"),
        (["--spec", str(ROOT / "README.md")], 1, "README.md"),
    ],
)
def test_what_is_wrong_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], incident: Path, arguments: list[str], code: int, sentence: str
) -> None:
    ended, _, err = halter(capsys, "verify", "--file", str(incident), *arguments)
    assert ended == code
    assert sentence in err


def test_a_path_whose_process_does_not_answer_gets_a_sentence(
    capsys: pytest.CaptureFixture[str], incident: Path, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    ended, _, err = halter(capsys, "verify", "--file", str(incident), "--rules", str(python))
    assert ended == 1
    assert "expected a version of Halter that has `halter verify`, found none that answers" in err
    assert "no such module" in err
