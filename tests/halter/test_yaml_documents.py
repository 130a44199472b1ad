"""WfSpec documents in YAML files: what YAML means here, and problems with file, line and column."""

import errno
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from halter.cli.spec import app
from halter.files.definition_files import InvalidDefinitions, check_files, only_wf_spec
from halter.files.yaml_files import Problem, UnreadableFile, parse_yaml, read_yaml
from processors.core.wf_spec.validate import check_document

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("0[1-8]-*.yaml"))

CART = """\
name: cart
entrypoint: main
threads:
  main:
    variables: {total: {type: INT, default: 0}}
    interrupts:
      - {event: add, handler: on-add}
    nodes:
      start: {kind: ENTRYPOINT, next: wait}
      wait: {kind: EXTERNAL_EVENT, event: checkout, next: done}
      done: {kind: EXIT}
  on-add:
    variables: {INPUT: {type: INT}}
    nodes:
      start: {kind: ENTRYPOINT, next: {to: done, set: [{var: total, op: ADD, value: {var: INPUT}}]}}
      done: {kind: EXIT}
"""


def refused(text: str) -> list[str]:
    with pytest.raises(UnreadableFile) as error:
        parse_yaml(text, "f")
    return [str(problem) for problem in error.value.problems]


def written(tmp_path: Path, text: str, name: str = "cart.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[Problem]:
    (file,) = check_files([path])
    return file.problems


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_wf_specs_of_the_first_scenarios_are_valid(path: Path):
    scenario = read_yaml(path).data
    assert isinstance(scenario, dict)
    for document in scenario["wf_specs"]:
        wf_spec, problems = check_document(document, None)
        assert [str(problem) for problem in problems] == []
        assert wf_spec is not None


def test_there_are_eight_of_them():
    assert len(SCENARIOS) == 8


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("12:30:45", "12:30:45"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-5", -5),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object):
    found = parse_yaml(f"a: {text}\n", "f").data
    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


def test_words_that_yaml_1_1_takes_for_booleans_may_be_keys():
    assert parse_yaml("{on: 1, off: 2, yes: 3, no: 4}", "f").data == {"on": 1, "off": 2, "yes": 3, "no": 4}


def test_all_duplicate_keys_are_reported_each_where_it_is_said_again():
    assert refused("a: 1\nb: {c: 1, c: 2}\na: 3\n") == [
        "f:2:11: expected each key once, found 'c' again",
        "f:3:1: expected each key once, found 'a' again",
    ]


def test_tags_are_not_taken():
    assert refused("a: !!python/object:os.system x") == [
        "f:1:4: expected a value without a tag, found tag:yaml.org,2002:python/object:os.system"
    ]


def test_aliases_stand_for_what_they_name():
    assert parse_yaml("a: &x {b: 1}\nc: *x\n", "f").data == {"a": {"b": 1}, "c": {"b": 1}}


def test_aliases_do_not_make_a_small_file_a_large_one():
    layers = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "values, found more behind aliases" in refused(f"l0: &l0 [1, 2]\n{layers}")[0]


def test_a_value_does_not_contain_itself():
    assert "expected an anchor above" in refused("a: &x [*x]")[0]


@pytest.mark.parametrize("loader", [yaml.BaseLoader, getattr(yaml, "CBaseLoader", yaml.BaseLoader)])
@pytest.mark.parametrize("depth", [201, 999, 1_000, 1_001, 1_024, 1_025, 3_000])
@pytest.mark.parametrize("opening", ["[", "{a: ", "[{a: ", "- ", "[ # }\n", '["x]", '])
def test_nesting_is_bounded_by_us_and_not_by_the_parser(
    opening: str, depth: int, loader: type, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("halter.files.yaml_files._LOADER", loader)
    text = opening * depth
    place = [*re.finditer(r"[\[{-]", text)][200].start()
    line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
    assert refused(text) == [f"f:{line}:{column}: expected values at most 200 deep, found more"]


def test_nesting_without_end_is_refused_at_once():
    assert refused("[" * 100_000) == ["f:1:201: expected values at most 200 deep, found more"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "f:1:1: expected a document, found an empty file"),
        ("# nothing\n", "f:1:1: expected a document, found an empty file"),
        ("a: 1\n---\nb: 2\n", "f:2:1: expected one document, found a second"),
        ("? [1]\n: 2\n", "f:1:3: expected a key that is text or a whole number, found a list"),
        ("null: 1\n", "f:1:1: expected a key that is text or a whole number, found null"),
        ("a: " + "9" * 100, "f:1:4: expected a number of 64 bits, found more digits"),
    ],
)
def test_what_is_no_document_says_where(text: str, sentence: str):
    assert refused(text) == [sentence]


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: 'x\n", "f:2:1"), ("a: 1\n  b: 2\n", "f:2:4"), ("a: 1\nb: \x01\n", "f:2:1"), ("[" * 100 + "}", "f:1:101")],
)
def test_what_is_no_yaml_says_where_and_what_the_parser_says(text: str, place: str):
    [problem] = refused(text)
    assert re.fullmatch(rf"{place}: not YAML: \S.+", problem)


def test_files_that_cannot_be_read_say_why(tmp_path: Path):
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    for name, sentence in (
        ("none.yaml", " there is no such file"),
        (".", f" cannot be read: {os.strerror(errno.EISDIR)}"),
        ("latin.yaml", "2:4: expected UTF-8, found other bytes"),
    ):
        with pytest.raises(UnreadableFile) as error:
            read_yaml(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}:{sentence}"


def test_a_byte_order_mark_and_windows_line_ends_are_nothing_special(tmp_path: Path):
    path = tmp_path / "bom.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    assert read_yaml(path).data == {"a": 1, "b": 2}


def test_json_is_yaml(tmp_path: Path):
    document = json.dumps(parse_yaml(CART, "f").data)
    assert only_wf_spec(written(tmp_path, document, "cart.json")).name == "cart"


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@settings(max_examples=200)
@given(json_values, st.booleans(), st.sampled_from([None, 2]))
def test_all_json_is_read(value: object, ascii_only: bool, indent: int | None):
    assert parse_yaml(json.dumps(value, ensure_ascii=ascii_only, indent=indent), "a.json").data == value


@pytest.mark.parametrize("value", ["smile \U0001f600", "\x7f", "\x85\u2028", {"k" * 2_000: 1}])
def test_json_may_have_what_the_yaml_parser_does_not_take(value: object):
    for ascii_only in (True, False):
        assert parse_yaml(json.dumps({"a": value}, ensure_ascii=ascii_only), "a.json").data == {"a": value}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": 1,\n "b": {"c": 1, "c": 2}}', "a.json:2:16: expected each key once, found 'c' again"),
        ('[\r\n"\\ud83d"]', "a.json:2:1: expected text, found half of a surrogate pair"),
        ("[" * 300 + "]" * 300, "a.json:1:201: expected values at most 200 deep, found more"),
        ("[" * 3_000 + "]" * 3_000, "a.json:1:201: expected values at most 200 deep, found more"),
        ('{"a": ' + "9" * 50 + "}", "a.json:1:7: expected a number of 64 bits, found more digits"),
        ('{"a": ' + "9" * 5_000 + "}", "a.json:1:7: expected a number of 64 bits, found more digits"),
        ("[" + "0," * 500_000 + "0]", "a.json:1:1000000: expected at most 500000 values, found more behind aliases"),
    ],
)
def test_json_is_refused_for_what_yaml_is(text: str, sentence: str):
    with pytest.raises(UnreadableFile) as unreadable:
        parse_yaml(text, "a.json")
    assert str(unreadable.value) == sentence


def test_a_problem_in_json_is_where_the_yaml_parser_would_see_it():
    text = '{"a": [1, {"b": "x"}],\n\t"c":\t{"d\\"": true,  "e": null}}'
    as_yaml = text.replace('"a"', "a")
    for path in (("a",), ("a", 1, "b"), ("c",), ("c", 'd"'), ("c", "e")):
        in_json, in_yaml = (parse_yaml(it, "f").problem(path, "", "X") for it in (text, as_yaml))
        assert in_json.line == in_yaml.line
        assert in_json.column == in_yaml.column + 2 * (in_yaml.line == 1 and path != ("a",))


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#,\n \t1?%@`~"), max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text: str):
    problems = []
    try:
        parse_yaml(text, "f")
    except UnreadableFile as error:
        problems = error.problems
    assert all(str(problem).startswith("f:") and problem.line >= 1 <= problem.column for problem in problems)


def test_a_valid_document_loads(tmp_path: Path):
    wf_spec = only_wf_spec(written(tmp_path, CART))
    assert (wf_spec.name, list(wf_spec.threads)) == ("cart", ["main", "on-add"])


@pytest.mark.parametrize(
    ("right", "wrong", "points_at", "code"),
    [
        ("event: checkout", "evnt: checkout", "evnt", "FIELD_UNKNOWN"),
        ("next: wait}", "next: wiat}", "next: wiat", "EDGE_MISSING_SINK"),
        ("op: ADD", "op: PLUS", "op: PLUS", "FIELD_VALUE"),
        ("value: {var: INPUT}", "value: {var: INPTU}", "var: INPTU", "VAR_UNKNOWN"),
        ("value: {var: INPUT}", "value: true", "{var: total, op", "MUTATION_TYPE"),
        ("handler: on-add", "handler: on-sub", "handler: on-sub", "INTERRUPT_HANDLER_MISSING"),
        ("entrypoint: main", "entrypoint: other", "entrypoint", "NO_ENTRYPOINT_THREAD"),
        ("default: 0", "default: zero", "default", "VAR_DEFAULT_TYPE"),
        ("name: cart", "name: my_cart", "name", "WF_NAME"),
    ],
)
def test_a_problem_is_where_it_stands_in_the_file(tmp_path: Path, right: str, wrong: str, points_at: str, code: str):
    text = CART.replace(right, wrong, 1)
    before = text[: text.index(points_at)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    path = written(tmp_path, text)
    assert (line, column, code) in [(p.line, p.column, p.code) for p in problems_of(path)]
    with pytest.raises(InvalidDefinitions, match=f"cart.yaml:{line}:{column}: "):
        only_wf_spec(path)


def test_a_problem_is_found_whether_a_list_of_one_is_written_with_brackets_or_without(tmp_path: Path):
    for edge in ("next: [{to: dnoe, set: [{var: total, op: ADD, value: 1}]}]", "next: [dnoe]"):
        path = written(tmp_path, CART.replace("next: done", edge, 1))
        problems = problems_of(path)
        assert [(problem.line, problem.code) for problem in problems] == [(10, "EDGE_MISSING_SINK")]


def test_problems_come_in_the_order_of_the_file(tmp_path: Path):
    text = CART.replace("INT, default: 0", "INT, default: x").replace("my", "").replace("kind: EXIT", "kind: EXTI")
    problems = problems_of(written(tmp_path, text.replace("name: cart", "name: my_cart")))
    lines = [problem.line for problem in problems]
    assert lines == sorted(lines)
    assert len(lines) >= 4


def test_spec_check_says_all_that_is_wrong_and_exits_with_1(tmp_path: Path):
    good, bad = written(tmp_path, CART), written(tmp_path, CART.replace("next: wait", "nxt: wait"), "bad.yaml")
    result = CliRunner().invoke(app, ["check", str(good), str(bad)])
    assert result.exit_code == 1
    assert f"{good}: ok, WfSpec cart of 2 ThreadSpecs" in result.output
    assert f"{bad}:9:33: threads.main.nodes.start.nxt: a node of kind ENTRYPOINT has no field nxt" in result.output
    assert CliRunner().invoke(app, ["check", str(good)]).exit_code == 0


def test_spec_check_speaks_json(tmp_path: Path):
    bad = written(tmp_path, CART.replace("next: wait", "nxt: wait"))
    result = CliRunner().invoke(app, ["check", "--json", str(bad)])
    assert result.exit_code == 1
    (found,) = json.loads(result.output)
    assert (found["file"], found["ok"], found["name"]) == (str(bad), False, None)
    assert {key: found["problems"][0][key] for key in ("line", "column", "code")} == {
        "line": 9,
        "column": 33,
        "code": "FIELD_UNKNOWN",
    }


def test_spec_check_hints_at_what_is_never_reached(tmp_path: Path):
    text = CART.replace(
        "      done: {kind: EXIT}\n  on-add", "      done: {kind: EXIT}\n      lost: {kind: EXIT}\n  on-add"
    )
    result = CliRunner().invoke(app, ["check", str(written(tmp_path, text))])
    assert result.exit_code == 0
    assert ":12:7: hint: threads.main.nodes.lost: expected a way to it, found none [NODE_UNREACHABLE]" in result.output


def test_spec_show_draws_a_file(tmp_path: Path):
    result = CliRunner().invoke(app, ["show", "--mermaid", str(written(tmp_path, CART))])
    assert result.exit_code == 0
    assert result.output.startswith("flowchart TD\n")


def test_spec_show_prints_the_document(tmp_path: Path):
    result = CliRunner().invoke(app, ["show", str(written(tmp_path, CART))])
    assert json.loads(result.output) == parse_yaml(CART, "f").data
