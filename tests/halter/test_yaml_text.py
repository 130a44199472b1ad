"""`halter spec show --yaml`: YAML with expressions as text, which reads back to the same WfSpec."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from halter.cli import app
from halter.cli.usage import UsageMistake
from halter.files.definition_files import only_wf_spec
from halter.files.yaml_files import parse_yaml
from halter.show.yaml_text import WIDTH, yaml_text
from processors.core.records.spec import (
    Edge,
    EntrypointNode,
    ExitNode,
    Expression,
    Literal,
    Mutation,
    MutationOperator,
    ThreadSpec,
    VariableDef,
    WfSpec,
)
from processors.core.records.values import VariableType
from processors.core.wf_spec.expression_parser import TEXT_LENGTH_MAX
from processors.core.wf_spec.reader import read_wf_spec
from processors.core.wf_spec.writer import canonical
from tests.core.test_documents import EXPRESSIONS, JSON, PATHS

CART = Path(__file__).parents[2] / "examples" / "cart" / "cart.yaml"


def read_back(text: str) -> WfSpec:
    wf_spec, problems = read_wf_spec(parse_yaml(text, "w").data)
    assert problems == []
    assert wf_spec is not None
    return wf_spec


def wf_spec_with(when: Expression, mutations: tuple[Mutation, ...], default: object = None) -> WfSpec:
    start = EntrypointNode(name="yes", edges=(Edge("no", when, mutations), Edge("no")))
    nodes = {"yes": start, "no": ExitNode(name="no", returns=when)}
    variables = {"1e3": VariableDef("1e3", VariableType.JSON_OBJ, {"a": default})}  # type: ignore[dict-item]
    return WfSpec("w", "null", {"null": ThreadSpec("null", variables, (), nodes)})


def test_the_cart_reads_back_and_fits_into_the_width() -> None:
    cart = only_wf_spec(CART)
    text = yaml_text(cart)
    assert canonical(read_back(text)) == canonical(cart)
    assert max(map(len, text.split("\n"))) <= WIDTH
    assert "total_cents += INPUT.quantity * INPUT.price_cents" in text


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS, st.builds(Mutation, st.text(), st.sampled_from(MutationOperator), EXPRESSIONS, PATHS), JSON)
def test_every_wf_spec_reads_back(tree: Expression, mutation: Mutation, default: object) -> None:
    wf_spec = wf_spec_with(tree, (mutation, mutation), default)
    assert canonical(read_back(yaml_text(wf_spec))) == canonical(wf_spec)


@pytest.mark.parametrize(
    "text", ["yes", "1e3", "0o7", "~", "", "a: b", "a #b", "-", "é\n\x7f\ud7ff\ufeff", "x" * 2000, "2026-01-01"]
)
def test_a_text_stays_a_text(text: str) -> None:
    for value in (text, {text: text}, [text]):
        wf_spec = wf_spec_with(Literal(value), ())
        assert canonical(read_back(yaml_text(wf_spec))) == canonical(wf_spec)


def test_what_would_be_more_text_than_a_document_may_have_is_written_as_trees() -> None:
    mutation = Mutation("a" * 1000, MutationOperator.ASSIGN, Literal(1))
    wf_spec = wf_spec_with(Literal(True), (mutation,) * (TEXT_LENGTH_MAX // 500))
    assert canonical(read_back(yaml_text(wf_spec))) == canonical(wf_spec)


def test_the_command_prints_it() -> None:
    shown = CliRunner().invoke(app, ["spec", "show", str(CART), "--yaml"])
    assert (shown.exit_code, shown.stdout) == (0, yaml_text(only_wf_spec(CART)))
    with pytest.raises(UsageMistake, match="expected one of --mermaid, --python and --yaml, found --python and --yaml"):
        CliRunner().invoke(app, ["spec", "show", str(CART), "--yaml", "--python"], catch_exceptions=False)
