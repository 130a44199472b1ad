"""`halter spec check` names the problems for which `halter spec put` would be refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from halter.cli import app
from halter.files.definition_files import check_files, read_definition_file, read_definition_files
from processors.core.records.commands import PutTaskDef, PutWfSpec
from processors.core.records.values import VariableType

EXAMPLE = Path(__file__).parents[2] / "examples" / "cart" / "cart.yaml"
EVENTS = "external_events: {add: {type: INT}, go: {}}\ntasks: {charge: {input: {amount: INT}}}\n"
WF_SPEC = """\
name: cart
entrypoint: main
threads:
  main:
    variables: {total: {type: INT, default: 0}}
    interrupts: [{event: add, handler: on-add}]
    nodes:
      start: {kind: ENTRYPOINT, next: wait}
      wait: {kind: EXTERNAL_EVENT, event: go, next: pay}
      pay: {kind: TASK, task: charge, input: {amount: {var: total}}, next: done}
      done: {kind: EXIT}
  on-add:
    variables: {INPUT: {type: INT}}
    nodes:
      start: {kind: ENTRYPOINT, next: {to: done, set: [{var: total, op: ADD, value: {var: INPUT}}]}}
      done: {kind: EXIT}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def halter(*words: str, standard_input: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=standard_input)


def in_head(wf_spec: str) -> str:
    """The WfSpec as an item of `wf_specs`."""
    lines = wf_spec.splitlines(keepends=True)
    return "wf_specs:\n" + "".join(f"  {'- ' if index == 0 else '  '}{line}" for index, line in enumerate(lines))


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_the_example_is_in_order() -> None:
    result = halter("spec", "check", str(EXAMPLE))
    assert result.exit_code == 0
    assert result.output == f"{EXAMPLE}: ok, 7 ExternalEventDefs, 2 TaskDefs, WfSpec cart of 7 ThreadSpecs\n"


def test_definitions_and_the_wf_specs_that_use_them_are_checked_together(folder: Path) -> None:
    text = EVENTS + in_head(
        WF_SPEC.replace("INPUT: {type: INT}", "INPUT: {type: STR}").replace("amount: {", "cents: {")
    )
    result = halter("spec", "check", write(folder, "all.yaml", text))
    assert result.exit_code == 1
    codes = [line.rsplit("[", 1)[1] for line in result.output.splitlines()]
    assert codes == ["INTERRUPT_INPUT_TYPE]", "TASK_ARG_COUNT]", "MUTATION_TYPE]"]
    assert "all.yaml:9:" in result.output.splitlines()[0]


@pytest.mark.parametrize("order", [["defs.yaml", "cart.yaml"], ["cart.yaml", "defs.yaml"]])
def test_files_are_one_set_in_whatever_order_they_are_named(folder: Path, order: list[str]) -> None:
    write(folder, "defs.yaml", EVENTS.replace("add: {type: INT}", "add: {type: STR}"))
    write(folder, "cart.yaml", WF_SPEC)
    result = halter("spec", "check", *order)
    assert result.exit_code == 1
    assert "cart.yaml:6:" in result.output
    assert "[INTERRUPT_INPUT_TYPE]" in result.output
    write(folder, "defs.yaml", EVENTS)
    assert halter("spec", "check", *order).exit_code == 0
    assert isinstance(read_definition_files([Path(name) for name in order])[-1].command, PutWfSpec)


def test_a_misspelt_field_that_is_required_is_one_problem_at_its_own_place(folder: Path) -> None:
    result = halter("spec", "check", write(folder, "cart.yaml", WF_SPEC.replace("task: charge", "tsak: charge")))
    (problem,) = result.output.splitlines()
    assert ".nodes.pay.tsak: " in problem
    assert "no field tsak (did you mean task?)" in problem
    assert problem.endswith("; the field task, which is required, is missing [FIELD_UNKNOWN]")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("amuont: 1", "found amuont; did you mean amount, not amuont? ["),
        ("amount: 1, amuont: 1", "found amount, amuont ["),
        ("sku: 1", "found sku ["),
        ("amuont: 1, amoutn: 1", "found amuont, amoutn; did you mean amount, not amuont? ["),
        ("", "found none ["),
    ],
)
def test_a_misspelt_input_of_a_task_is_told_with_the_one_that_is_meant(folder: Path, given: str, said: str) -> None:
    text = EVENTS + in_head(WF_SPEC.replace("amount: {var: total}", given))
    result = halter("spec", "check", write(folder, "all.yaml", text))
    (problem,) = [line for line in result.output.splitlines() if "[TASK_ARG_COUNT]" in line]
    assert "expected the inputs of TaskDef 'charge': amount; " + said in problem


def test_a_missing_field_that_no_unknown_one_is_like_stays_a_problem(folder: Path) -> None:
    result = halter("spec", "check", write(folder, "cart.yaml", WF_SPEC.replace("task: charge", "colour: red")))
    codes = [line.rsplit("[", 1)[1] for line in result.output.splitlines()]
    assert sorted(codes) == ["FIELD_MISSING]", "FIELD_UNKNOWN]"]


def test_what_is_not_in_the_files_may_be_registered_and_is_hinted_at(folder: Path) -> None:
    write(folder, "defs.yaml", EVENTS.replace(", go: {}", ""))
    write(folder, "cart.yaml", WF_SPEC)
    result = halter("spec", "check", "defs.yaml", "cart.yaml")
    assert result.exit_code == 0
    (hint,) = [line for line in result.output.splitlines() if "hint" in line]
    assert hint.startswith("cart.yaml:9:")
    assert "ExternalEventDef 'go'" in hint
    assert "`halter spec put FILE`" in hint
    assert halter("spec", "check", "cart.yaml").output == "cart.yaml: ok, WfSpec cart of 2 ThreadSpecs\n"


def test_all_that_is_wrong_with_all_files_is_said(folder: Path) -> None:
    write(folder, "defs.yaml", "tasks: {a_b: {}, t: {inputs: {}}}\nwf_specs: [gone.yaml, cart.yaml, 5]\n")
    write(folder, "cart.yaml", WF_SPEC.replace("next: wait", "next: wiat"))
    write(folder, "other.yaml", "name: [\n")
    result = halter("spec", "check", "defs.yaml", "other.yaml", "nothing.yaml")
    assert result.exit_code == 1
    for expected in (
        "defs.yaml:1:9: tasks.a_b:",
        "defs.yaml:1:22: tasks.t.inputs:",
        "defs.yaml:2:12: wf_specs[0]:",
        "cart.yaml:8:33: threads.main.nodes.start.next: expected a node of main (did you mean wait?)",
        "defs.yaml:2:34: wf_specs[2]: expected a mapping, found 5",
        "other.yaml:2:1: not YAML",
        "nothing.yaml: there is no such file",
    ):
        assert expected in result.output, result.output


def test_nothing_is_put_unless_all_files_are_in_order(folder: Path) -> None:
    write(folder, "one.yaml", EVENTS.replace("INT", "INTT", 1))
    write(folder, "two.yaml", WF_SPEC.replace("kind: EXIT", "kind: EXTI"))
    result = halter("spec", "put", "one.yaml", "two.yaml", "--bootstrap", "localhost:1")
    assert result.exit_code == 1
    assert "one.yaml:1:" in str(result.exception)
    assert "two.yaml:11:" in str(result.exception)


def test_one_definition_that_is_two_things_is_refused(folder: Path) -> None:
    write(folder, "one.yaml", "tasks: {charge: {output: INT}}\n")
    write(folder, "two.yaml", "tasks: {charge: {output: STR}}\n")
    result = halter("spec", "check", "one.yaml", "two.yaml")
    assert result.exit_code == 1
    assert "two.yaml:1:18: tasks.charge.output: expected INT as in 0.0, found STR" in result.output
    assert "[TASKDEF_BREAKING]" in result.output


def test_an_optional_input_is_written_with_its_type(folder: Path) -> None:
    text = "tasks: {t: {input: {a: STR, b: {type: INT, optional: true}, c: {type: BOOL}}}}\n"
    (command,) = read_definition_file(Path(write(folder, "one.yaml", text))).commands
    assert isinstance(command, PutTaskDef)
    assert command.input == {"a": VariableType.STR, "b": VariableType.INT, "c": VariableType.BOOL}
    assert command.optional == ["b"]
    write(folder, "two.yaml", "tasks: {t: {input: {a: {}, b: {type: INT, optional: 1}, c: {typ: INT}, d: null}}}\n")
    said = halter("spec", "check", "two.yaml").output
    for sentence in (
        "tasks.t.input.a: expected the field type, found none",
        "tasks.t.input.b.optional: expected",
        "tasks.t.input.c.typ: an input has no field typ",
        "tasks.t.input.d: expected one of",
    ):
        assert sentence in said, said


@pytest.mark.parametrize(
    ("one", "two", "what", "places"),
    [
        (
            "external_events: {add: {}, go: {type: INT}}\n",
            "external_events:\n  go: {type: STR}\n",
            "ExternalEventDef go",
            ("1:28", "2:3"),
        ),
        (WF_SPEC, in_head(WF_SPEC.replace("default: 0", "default: 1")), "WfSpec cart", ("1:1", "2:5")),
    ],
)
@pytest.mark.parametrize("command", ["check", "put"])
def test_a_name_that_two_files_define_differently_is_refused_with_both_places(
    folder: Path, command: str, one: str, two: str, what: str, places: tuple[str, str]
) -> None:
    write(folder, "one.yaml", one)
    write(folder, "two.yaml", two)
    result = halter("spec", command, "one.yaml", "two.yaml", *(["-b", "localhost:1"] if command == "put" else []))
    assert result.exit_code == 1
    told = f"two.yaml:{places[1]}: {what} is defined twice, differently: one.yaml:{places[0]}"
    assert told in (result.output if command == "check" else str(result.exception))


def test_a_name_that_two_files_define_alike_is_fine(folder: Path) -> None:
    write(folder, "one.yaml", EVENTS + in_head(WF_SPEC))
    write(folder, "two.yaml", EVENTS + in_head(WF_SPEC.replace("{type: INT, default: 0}", "{default: 0, type: INT}")))
    assert halter("spec", "check", "one.yaml", "two.yaml").exit_code == 0


def test_what_is_wrong_in_a_file_that_is_put_ends_with_the_word_that_nothing_was_registered(folder: Path) -> None:
    write(folder, "ill.yaml", "tasks: {charge: {output: INTT}}\n")
    for name in ("ill.yaml", "gone.yaml"):
        result = halter("spec", "put", name, "--bootstrap", "localhost:1")
        assert str(result.exception).splitlines()[-1] == "nothing was registered"
    assert str(result.exception).splitlines()[0] == "gone.yaml: there is no such file"


@pytest.mark.parametrize(("text", "what"), [(WF_SPEC, "a WfSpec"), (EVENTS, "definitions")])
def test_who_runs_as_a_scenario_what_is_none_is_told_what_checks_it(folder: Path, text: str, what: str) -> None:
    result = halter("scenario", "run", write(folder, "cart.yaml", text))
    assert result.exit_code == 1
    sentence = f"expected a scenario, which has steps, found {what}: `halter spec check cart.yaml` checks it"
    assert result.output == f"FAILED  cart.yaml:1:1: {sentence}\n"


@pytest.mark.parametrize(
    ("command", "text", "expected", "found"),
    [
        ("spec check", "name: b\nbindings: []\n", "a WfSpec or definitions", "bindings: `halter bind check"),
        (
            "spec check",
            "definitions: a.yaml\nsteps: []\n",
            "a WfSpec or definitions",
            "a scenario: `halter scenario run",
        ),
        ("spec put", "name: s\ntopic: news\n", "a WfSpec or definitions", "a sink: `halter sink check"),
        ("bind check", EVENTS, "bindings", "definitions: `halter spec check"),
        ("sink check", WF_SPEC, "a sink", "a WfSpec: `halter spec check"),
        ("scenario run", "name: b\nbindings: []\n", "a scenario, which has steps", "bindings: `halter bind check"),
    ],
)
def test_a_document_of_another_kind_is_told_with_the_command_that_takes_it(
    folder: Path, command: str, text: str, expected: str, found: str
) -> None:
    write(folder, "one.yaml", text)
    result = halter(
        *command.split(), "one.yaml", *([] if command in {"spec check", "scenario run"} else ["-b", "localhost:1"])
    )
    assert result.exit_code == 1
    said = result.output + str(result.exception)
    assert f"one.yaml:1:1: expected {expected}, found {found} one.yaml` checks it" in said


def test_check_speaks_json_of_a_file_of_definitions(folder: Path) -> None:
    write(folder, "all.yaml", EVENTS + in_head(WF_SPEC))
    (found,) = json.loads(halter("spec", "check", "--json", "all.yaml").output)
    assert (found["file"], found["ok"], found["name"]) == ("all.yaml", True, "cart")
    assert [(one["kind"], one["name"]) for one in found["definitions"]] == [
        ("ExternalEventDef", "add"),
        ("ExternalEventDef", "go"),
        ("TaskDef", "charge"),
        ("WfSpec", "cart"),
    ]


def test_a_hyphen_is_standard_input() -> None:
    result = halter("spec", "check", "-", standard_input=WF_SPEC)
    assert (result.exit_code, result.output) == (0, "-: ok, WfSpec cart of 2 ThreadSpecs\n")
    scenario = "name: s\nwf_specs: []\nsteps: [{clock: +1s}]\n"
    assert halter("scenario", "run", "-", standard_input=scenario).output == "ok      -\n"


def test_the_one_wf_spec_of_a_file_of_definitions_is_drawn(folder: Path) -> None:
    assert halter("spec", "show", str(EXAMPLE), "--mermaid").output.startswith("flowchart TD\n")
    write(
        folder,
        "two.yaml",
        in_head(WF_SPEC) + in_head(WF_SPEC.replace("name: cart", "name: other"))[len("wf_specs:\n") :],
    )
    result = halter("spec", "show", "two.yaml")
    assert result.exit_code == 1
    assert "two.yaml: expected one WfSpec, found cart, other" in str(result.exception)


def test_what_a_scenario_s_definitions_are_refused_for_is_told_with_its_lines(folder: Path) -> None:
    write(folder, "cart.yaml", WF_SPEC.replace("op: ADD", "op: AND"))
    text = "name: s\n" + EVENTS + "wf_specs:\n  - cart.yaml\n  - {name: a_b}\nsteps: []\n"
    result = halter("scenario", "run", write(folder, "test.yaml", text))
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("FAILED  cart.yaml:15:")
    assert lines[0].endswith("[MUTATION_TYPE]")
    assert lines[1].startswith("FAILED  test.yaml:6:5: the definitions are refused: wf_specs[1].")


def test_a_wf_spec_is_checked_as_json_that_it_becomes(folder: Path) -> None:
    text = WF_SPEC.replace("default: 0", "default: 0, masked: false").replace(
        "type: INT, default", "type: INT, 5: x, default"
    )
    (checked,) = check_files([Path(write(folder, "cart.yaml", text))])
    assert [problem.code for problem in checked.problems] == ["FIELD_UNKNOWN"]
