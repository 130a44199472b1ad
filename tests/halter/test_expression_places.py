"""A problem in an expression that a file has as text is told at the line and the column of the character it is with."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.files.definition_files import check_files, read_definition_files
from halter.files.text_places import place_of
from halter.files.yaml_files import parse_yaml
from processors.core.records.commands import PutWfSpec
from processors.core.wf_spec.reader import read_wf_spec

WF_SPEC = """\
name: w
entrypoint: main
threads:
  main:
    variables: {{total: {{type: INT}}, name: {{type: STR}}}}
    nodes:
      a:
        kind: ENTRYPOINT
        next:
          to: b
{}
      b: {{kind: EXIT}}
"""


def problems_of(edge: str, tmp_path: Path) -> list[tuple[int, int, str]]:
    file = tmp_path / "w.yaml"
    file.write_text(WF_SPEC.format("\n".join(f"          {line}" for line in edge.split("\n"))))
    (checked,) = check_files([file])
    return [(it.line - 10, it.column - 10, it.code) for it in checked.problems]


@pytest.mark.parametrize(
    ("edge", "places"),
    [
        ("when: {expr: total > nam}", [(1, 22, "VAR_UNKNOWN")]),
        ("when: {expr: total >}", [(1, 21, "EXPRESSION_TEXT")]),
        ("when: {expr: [total]}", [(1, 8, "FIELD_TYPE")]),
        ("when: {expr: total}", [(1, 1, "CONDITION_TYPE")]),
        ("when:\n  expr: size([total, nam]) > 0", [(2, 22, "VAR_UNKNOWN")]),
        ("when: {in: [1, {expr: '[nam]'}]}", [(1, 25, "VAR_UNKNOWN")]),
        ("when: {expr: '\"it''s\" == nam'}", [(1, 26, "VAR_UNKNOWN")]),
        (r'when: {expr: "\"a\tb\" == \u006eam"}', [(1, 27, "VAR_UNKNOWN")]),
        ("when:\n  expr: >-\n    total > 1\n    and nam", [(4, 9, "VAR_UNKNOWN")]),
        ("when:\n  expr: |\n    total > 1 and\n\n      not", [(5, 10, "EXPRESSION_TEXT")]),
        ("when: {expr: &text 'nam'}", [(1, 21, "VAR_UNKNOWN")]),
        ("set: total += nam", [(1, 15, "VAR_UNKNOWN")]),
        ("set: [total += nam, totl = 1]", [(1, 16, "VAR_UNKNOWN"), (1, 21, "VAR_UNKNOWN")]),
        ("set:\n  - total += 'x'", [(2, 11, "MUTATION_TYPE")]),
        ("set:\n  - total + 'x'", [(2, 11, "EXPRESSION_TEXT")]),
        ("set: [{var: total, op: ADD, value: {expr: 1 + true}}]", [(1, 45, "EXPRESSION_TYPE")]),
        ("set: [{var: total, op: ADD, value: 1 + nam}]", [(1, 7, "MUTATION_TYPE")]),
    ],
)
def test_a_problem_has_the_line_and_the_column_inside_the_text(
    edge: str, places: list[tuple[int, int, str]], tmp_path: Path
) -> None:
    assert problems_of(edge, tmp_path) == places


def test_a_json_file_has_them_too(tmp_path: Path) -> None:
    nodes = {"a": {"kind": "ENTRYPOINT", "next": {"to": "b", "when": {"expr": '"é" == nam'}}}, "b": {"kind": "EXIT"}}
    document = {"name": "w", "entrypoint": "main", "threads": {"main": {"nodes": nodes}}}
    text = json.dumps(document)
    (tmp_path / "w.json").write_text(text)
    (checked,) = check_files([tmp_path / "w.json"])
    assert [(it.line, text[it.column - 1 :][:3]) for it in checked.problems] == [(1, "nam")]


@given(st.text("ab \n'\"\\é", min_size=1), st.sampled_from(["json", "single"]), st.data())
def test_every_character_that_is_not_white_is_found(text: str, style: str, data: st.DataObject) -> None:
    text = " ".join(text.split()) if style == "single" else text
    written = json.dumps(text) if style == "json" else "'" + text.replace("'", "''") + "'"
    offset = data.draw(st.integers(0, max(len(text) - 1, 0)))
    if not text.strip() or text[offset].isspace():
        return
    line, column = place_of(f"x:\n  {written}", 2, 3, text, offset)
    assert line == 2
    rest = f"  {written}"[column - 1 : -1]
    assert parse_yaml(f"{written[0]}{rest}{written[0]}", "x").data == text[offset:]


def test_what_is_put_has_no_texts_so_that_workers_of_earlier_releases_take_it(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WF_SPEC.format("          set: ['total += 1 + total']\n          when: {expr: name == 'x'}"))
    (put,) = (it.command for it in read_definition_files([file]))
    assert isinstance(put, PutWfSpec)
    sent: dict[str, Any] = json.loads(put.document)
    assert sent["threads"]["main"]["nodes"]["a"]["next"] == {
        "to": "b",
        "when": {"eq": [{"var": "name"}, "x"]},
        "set": [{"var": "total", "op": "ADD", "value": {"add": [1, {"var": "total"}]}}],
    }
    assert read_wf_spec(sent)[0] == read_wf_spec(parse_yaml(file.read_text(), "w").data)[0]


def test_a_document_without_texts_is_put_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(WF_SPEC.format("          set: []"))
    (put,) = (it.command for it in read_definition_files([file]))
    assert isinstance(put, PutWfSpec)
    assert json.loads(put.document) == parse_yaml(file.read_text(), "w").data


def test_an_input_that_is_called_as_the_key_of_texts_is_none(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    text = WF_SPEC.format("").replace("b: {kind: EXIT}", "b: {kind: TASK, task: t, input: {expr: no text}, next: c}")
    file.write_text(text + "      c: {kind: EXIT}\n")
    (put,) = (it.command for it in read_definition_files([file]))
    assert isinstance(put, PutWfSpec)
    assert json.loads(put.document)["threads"]["main"]["nodes"]["b"]["input"] == {"expr": "no text"}
