"""The JSON Schemas take what the readers take, and refuse nothing else that they refuse, as far as a schema can say it.

docs/editors.md lists what a schema cannot say. Documents are those of this tree, and what becomes of them by a change.
"""

import copy
import json
import re
import runpy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from halter.bindings.document import read_bindings
from halter.cli import app
from halter.cli.document_schemas import FOLDER, SUFFIX, WHAT, schema_text
from halter.cli.schemas import UnknownDocument
from halter.explore.claims_document import read_claims
from halter.explore.subject import Subject, subject_of
from halter.files.definition_files import read_definition_file
from halter.files.definitions_document import DEFINITION_FIELDS, read_definitions
from halter.files.scenario_document import SCENARIO_FIELDS, read_scenario
from halter.files.yaml_files import parse_yaml, read_yaml
from halter.sinks.document import SINK_FIELDS, read_sink
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.validate import check_document

ROOT = Path(__file__).resolve().parents[2]
OF_THE_FORM = {"FIELD_UNKNOWN", "FIELD_MISSING", "FIELD_TYPE", "FIELD_VALUE", "EXPRESSION_FORM", "STEP_FORM"}
"""Codes of problems that a schema finds, too."""


def test_the_schemas_are_those_of_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["json_schemas.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "docs" / "json_schemas.py"), run_name="__main__")
    assert ended.value.code == 0
    assert {path.name.removesuffix(SUFFIX) for path in (ROOT / FOLDER).iterdir()} == set(WHAT)


@cache
def validator(name: str) -> Draft7Validator:
    schema = json.loads(schema_text(name))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def takes(name: str, document: object) -> bool:
    return validator(name).is_valid(with_texts_for_keys(document))


def with_texts_for_keys(value: object) -> object:
    """Return a document as an editor sees it: all its keys are text."""
    match value:
        case Mapping():
            return {str(key): with_texts_for_keys(item) for key, item in value.items()}
        case list():
            return [with_texts_for_keys(item) for item in value]
        case _:
            return value


# The documents of this tree.


def yaml_of_pages() -> Iterator[tuple[str, object]]:
    for page in sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), ROOT / "README.md"]):
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)):
            yield f"{page.relative_to(ROOT)} block {number}", parse_yaml(block, page.name).data


def yaml_of_files() -> Iterator[tuple[str, object]]:
    for folder in ("docs", "examples", "tests"):
        for path in sorted((ROOT / folder).rglob("*.yaml")):
            if "released" not in path.parts:
                yield str(path.relative_to(ROOT)), read_yaml(path).data


def kind_of(document: object) -> str | None:
    """Return the schema for a document of this tree; None for one that is not Halter's, or only a part."""
    if not isinstance(document, dict):
        return None
    if "steps" in document and document.keys() <= set(SCENARIO_FIELDS):
        return "scenario"
    if {"name", "bindings"} <= document.keys():
        return "bindings"
    if {"name", "topic"} <= document.keys() <= set(SINK_FIELDS):
        return "sink"
    if document.keys() & set(DEFINITION_FIELDS):
        return "definitions"
    if {"name", "entrypoint", "threads"} <= document.keys():
        return "wf-spec"
    return "claims" if document.keys() & {"never", "always", "eventually"} else None


@cache
def documents() -> list[tuple[str, str, Any]]:
    found = [*yaml_of_files(), *yaml_of_pages()]
    return [(where, kind, it) for where, it in found if (kind := kind_of(it))]


def load_nothing(_: str) -> object:
    return {"name": "w", "entrypoint": "main", "threads": {}}


def problems_of(kind: str, document: Any) -> list[DocumentProblem]:
    """Return what our own readers say, of a document and of all WfSpecs in it."""
    match kind:
        case "wf-spec":
            return check_document(document, None)[1]
        case "definitions" if isinstance(document, dict) and not document.keys() & set(DEFINITION_FIELDS):
            return check_document(document, None)[1]  # a file of one WfSpec
        case "definitions":
            found = read_definitions(document, load_nothing)[2]
        case "scenario":
            found = read_scenario(document, load_nothing, lambda _: [])[1]
        case "bindings":
            return read_bindings(document)[1]
        case "sink":
            return read_sink(document)[1]
        case _:
            return read_claims(document, of_claims())[2]
    return [*found, *(problem for it in wf_specs_in(document) for problem in check_document(it, None)[1])]


def wf_specs_in(document: Any) -> Iterator[object]:
    if not isinstance(document, dict):
        return
    given = document.get("wf_specs")
    yield from (it for it in (given if isinstance(given, list) else []) if not isinstance(it, str))
    steps = document.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict):
            yield from wf_specs_in(step.get("define"))
            yield from wf_specs_in(step.get("repeat"))


@cache
def of_claims() -> Subject:
    return subject_of(read_definition_file(ROOT / "examples" / "cart" / "cart.yaml").commands)


def test_there_are_documents_of_each_kind() -> None:
    assert {kind for _, kind, _ in documents()} == set(WHAT)


FORMS_OF_BINDINGS = """
name: all-forms
bindings:
  - name: by-key
    topic: bank.payments
    format: {type: protobuf, framing: confluent, descriptor: bank.pb, message: bank.Paid}
    key_format: {type: string}
    when: {eq: [{var: key}, a]}
    each: [value.order, {var: key}]
    correlate: item
    event: paid
    content: {fields: {amount: value.amount, of: {fields: {by: [key, {literal: x}]}}}}
    tombstone: {event: gone, wf_run_id: key, start: cart, content: 5}
  - name: by-id
    topic: shop.orders
    format: {type: avro, framing: single-object, schema: order.avsc}
    key_format: {type: json, framing: confluent}
    wf_run_id: key
    events:
      - {event: paid, correlate: value.order}
      - {event: seen, start: {wf_spec: cart, version: "1.2", inputs: {customer: {fields: {name: key}}}}}
  - name: by-registry
    topic: shop.carts
    format: {type: avro}
    event: seen
    wf_run_id: key
    start: {wf_spec: cart, version: 1}
"""
"""The forms that no document of this tree has."""


def test_the_document_of_all_forms_of_bindings_is_a_good_one() -> None:
    document = parse_yaml(FORMS_OF_BINDINGS, "forms").data
    assert problems_of("bindings", document) == []
    assert takes("bindings", document)


def documents_of(kind: str) -> list[tuple[str, Any]]:
    found = [(where, it) for where, of, it in documents() if of == kind and (kind != "claims" or "cart" in where)]
    if kind == "wf-spec":
        found += [(where, one) for where, _, it in documents() for one in wf_specs_in(it)]
    if kind == "bindings":
        found += [("all forms", parse_yaml(FORMS_OF_BINDINGS, "forms").data)] * len(found)
    return found


@pytest.mark.parametrize("kind", WHAT)
def test_a_document_of_this_tree_is_valid_exactly_if_the_reader_says_so(kind: str) -> None:
    for where, document in documents_of(kind):
        agree(kind, document, where)


def agree(kind: str, document: Any, where: str) -> None:
    """Check that schema and reader agree on a document, as far as a schema can say what the reader does."""
    problems = problems_of(kind, document)
    if takes(kind, document):
        missed = [it for it in problems if it.code in OF_THE_FORM and not is_beyond_schemas(it, kind)]
        assert missed == [], (where, document)
    else:
        errors = validator(kind).iter_errors(with_texts_for_keys(document))
        assert problems, (where, [error.message for error in errors], document)


def is_beyond_schemas(problem: DocumentProblem, kind: str) -> bool:
    """Say whether no schema could find a problem (docs/editors.md)."""
    if kind == "claims" and problem.code == "FIELD_VALUE":
        return True  # it depends on the WfSpec that they are about
    if problem.message.endswith("found '{n}'"):
        return True  # outside of a `repeat`
    return "64 bits" in problem.message


JUNK: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**20, "", "x", "a b", "total +", "{n}", [], [1], {}, {"a": 1}),
    *({"expr": "a"}, {"expr": 1}, {"var": "a"}, {"var": "a", "path": "b"}, {"not": []}, {"eq": [1]}, {"literal": {}}),
]


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(item, (*path, key))


def changed(document: Any, random: Random) -> Any:
    """Return a document with one change: a value that is another, is gone, has another name, or is new."""
    document = copy.deepcopy(document)
    *above, last = random.choice(list(places_in(document)))
    parent = document
    for step in above:
        parent = parent[step]
    value = copy.deepcopy(random.choice(JUNK))
    match random.choice(["replace", "replace", "remove", "rename", "add"]):
        case "replace":
            parent[last] = value
        case "remove":
            del parent[last]
        case _ if isinstance(parent, list):
            parent.append(value)
        case "rename":
            parent[f"{last}x"] = parent.pop(last)
        case _:
            fields = [
                "x",
                "path",
                "timeout_s",
                "var",
                "when",
                "type",
                "version",
                "times",
                "start",
                "correlate",
                "schema",
            ]
            parent[random.choice(fields)] = value
    return document


CHANGES = 150
"""The number of changed documents of each kind. Ten thousand of each were tried when the schemas were written."""


@pytest.mark.parametrize("kind", WHAT)
def test_a_change_is_refused_by_the_schema_exactly_if_it_is_by_the_reader(kind: str) -> None:
    known = [it for _, it in documents_of(kind)]
    for seed in range(CHANGES):
        random = Random(seed)
        agree(kind, changed(random.choice(known), random), f"seed {seed}")


def test_the_command_prints_them_and_knows_what_was_meant() -> None:
    listed = CliRunner().invoke(app, ["schemas", "document"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(WHAT)
    for name in WHAT:
        assert CliRunner().invoke(app, ["schemas", "document", name]).stdout == schema_text(name)
    with pytest.raises(UnknownDocument, match="did you mean scenario"):
        CliRunner().invoke(app, ["schemas", "document", "scenarios"], catch_exceptions=False)
