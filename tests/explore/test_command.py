"""`halter explore`: what it prints, writes and returns, and what bad input gets."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import halter

ROOT = Path(__file__).parents[2]
CART = str(ROOT / "examples" / "cart" / "cart.yaml")
APPROVAL = str(Path(__file__).with_name("approval.yaml"))


def _written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_problem_is_exit_code_1_and_its_scenario_confirms_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "found"
    code, out, err = halter(capsys, "explore", APPROVAL, "-o", str(folder))
    assert (code, err) == (1, "")
    assert "stuck: thread 0 of ThreadSpec main can never go on" in out
    documents = sorted(map(str, folder.iterdir()))
    assert documents
    assert all(document in out for document in documents)
    code, out, _ = halter(capsys, "scenario", "run", *documents)
    assert (code, out) == (0, "".join(f"ok      {document}\n" for document in documents))


def test_notes_alone_are_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "explore", CART, "--states", "100")
    assert code == 1, "so near, nothing is charged"
    assert "never" in out
    assert "(as far as was explored)" in out
    code, out, _ = halter(capsys, "explore", CART, "--states", "2000")
    assert code == 0
    assert "Problems: none" in out


def test_it_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "explore", APPROVAL, "--json", "--events", "2", "--stops", "1")
    found = json.loads(out)
    assert code == 1
    assert found["bounds"] == {"events": 2, "before": 0, "stops": 1, "between": False, "by_key": False}
    assert found["covered"]["cut_by"] is None
    [stuck] = [finding for finding in found["findings"] if finding["kind"] == "stuck"]
    assert stuck["path"] == [{"run": {"id": "w1", "spec": "payout"}}]


SECRET = "4111-1111-1111-1111"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_masked_values_are_not_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path, form: list[str]) -> None:
    claims = _written(tmp_path / "claims.yaml", f"values: {{variables: {{card: ['0', '{SECRET}']}}}}")
    code, out, err = halter(capsys, "explore", CART, "--states", "300", "--claims", claims, *form)
    assert code == 1
    assert SECRET not in out + err


def test_the_author_chooses_values(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = {"sku": "a", "quantity": 1, "price_cents": 500}
    values = {"events": {"item-added": [good], "item-removed": [good]}}
    claims = _written(tmp_path / "claims.yaml", json.dumps({"values": values}))
    _, out, _ = halter(capsys, "explore", CART, "--depth", "3", "--claims", claims)
    assert "VAR_SUB_ERROR" not in out
    _, out, _ = halter(capsys, "explore", CART, "--depth", "3")
    assert "VAR_SUB_ERROR at node start of ThreadSpec add-item" in out


def test_a_claim_that_does_not_hold_is_told_with_its_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = "never: {charged for nothing: {and: [{eq: [{var: total_cents}, 0]}, {ne: [{var: receipt}, null]}]}}"
    claims = _written(tmp_path / "claims.yaml", document)
    code, out, _ = halter(capsys, "explore", CART, "--depth", "4", "--claims", claims, "-o", str(tmp_path / "found"))
    assert code == 1
    assert "claim: never charged for nothing" in out
    assert "run → event checkout → event slot-chosen → thread 0's task: SUCCESS" in out
    documents = sorted(map(str, (tmp_path / "found").iterdir()))
    assert halter(capsys, "scenario", "run", *documents)[0] == 0


def test_a_wf_spec_alone_gets_definitions_without_types(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = {
        "name": "alone",
        "entrypoint": "main",
        "threads": {
            "main": {
                "nodes": {
                    "start": {"kind": "ENTRYPOINT", "next": "wait"},
                    "wait": {"kind": "EXTERNAL_EVENT", "event": "go", "next": "work"},
                    "work": {"kind": "TASK", "task": "t", "next": "end"},
                    "end": {"kind": "EXIT"},
                }
            }
        },
    }
    code, out, _ = halter(capsys, "explore", _written(tmp_path / "alone.yaml", json.dumps(spec)))
    assert code == 0
    assert "Assumed without a type, because the files do not define them: ExternalEventDef go, TaskDef t" in out


TWO = """
wf_specs:
  - {name: a, entrypoint: m, threads: {m: {nodes: {s: {kind: ENTRYPOINT, next: e}, e: {kind: EXIT}}}}}
  - {name: b, entrypoint: m, threads: {m: {nodes: {s: {kind: ENTRYPOINT, next: e}, e: {kind: EXIT}}}}}
"""


def test_one_of_several_wf_specs_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = _written(tmp_path / "two.yaml", TWO)
    assert halter(capsys, "explore", file, "--spec", "b")[:2][0] == 0
    _, _, err = halter(capsys, "explore", file)
    assert err == "halter: expected one WfSpec to explore, found a, b: name one with --spec\n"
    _, _, err = halter(capsys, "explore", file, "--spec", "c")
    assert err == "halter: --spec: expected one of a, b, found 'c'\n"


def test_a_file_without_a_wf_spec_gets_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = halter(capsys, "explore", _written(tmp_path / "events.yaml", "external_events: {a: {}}"))
    assert (code, err) == (1, "halter: expected one WfSpec to explore, found none\n")


def test_a_missing_file_gets_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    code, _, err = halter(capsys, "explore", str(missing))
    assert (code, err) == (1, f"halter: {missing}: there is no such file\n")


def test_a_folder_with_other_files_is_left_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    code, _, err = halter(capsys, "explore", APPROVAL, "-o", str(tmp_path))
    assert code == 1
    assert err.startswith("halter: -o: expected a folder that is new or empty, found")
    assert [it.name for it in tmp_path.iterdir()] == ["mine.txt"]


WRONG = {
    "never: {x: {expr: total_cents > adress}}": "1:33: never.x.gt[1].var: expected customer, card, address",
    "never: {x: {expr: total_cents and 1}}": "1:31: never.x.and: expected BOOL",
    "never: {x: {expr: total_cents}}": "never.x: expected BOOL, found INT",
    "sometimes: {}": "a document of claims has no field sometimes",
    "never: {a: {eq: [{var: totl_cents}, 1]}}": "found 'totl_cents' (did you mean total_cents?)",
    "never: {a: {eq: [{output: charge}, 1]}}": "found the output of node 'charge'",
    "never: {a: true}": "expected a condition, found BOOL true",
    "always: {a: {equals: [1, 2]}}": "equals",
    "[]": "expected a mapping, found a list",
    "values: {events: {item-add: [null]}}": "found 'item-add' (did you mean item-added?)",
    "values: {events: {item-added: []}}": "expected a list with at least one value, found a list",
    "values: {events: {page-seen: [1]}}": "expected STR, found INT 1",
    "values: {tasks: {charge: [null]}}": "found 'charge' (did you mean charge-card?)",
    "values: {variables: {cards: [x]}}": "found 'cards' (did you mean card?)",
}


@pytest.mark.parametrize("document", WRONG)
def test_wrong_claims_get_a_sentence_with_their_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, document: str
) -> None:
    claims = _written(tmp_path / "claims.yaml", document)
    code, out, err = halter(capsys, "explore", CART, "--claims", claims)
    assert (code, out) == (1, "")
    assert err.startswith(f"halter: {claims}:1:")
    assert WRONG[document] in err
    assert len(err.splitlines()) == 1
