"""Writes a WfSpec as a person would: YAML whose expressions are text. Reading it gives the same WfSpec.

What fits on a line stands on one. A text stands without quotation marks where every reader of YAML takes it for text.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from processors.core.records.spec import Expression, Literal, Mutation, WfSpec
from processors.core.wf_spec.expression_forms import TEXT
from processors.core.wf_spec.expression_parser import TEXT_LENGTH_MAX
from processors.core.wf_spec.expression_text import expression_text, mutation_text
from processors.core.wf_spec.writer import TREES, Form, document_of

WIDTH: Final = 118
STEP: Final = "  "
KEY_LENGTH_MAX: Final = 200
"""The longest key that a parser of YAML takes for sure."""
_PLAIN: Final = re.compile(r"[A-Za-z_](?:[-A-Za-z0-9_ .$+*/<>=()]*[-A-Za-z0-9_.$+*/<>=()])?")
_NOT_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Words that some version of YAML does not take for text, in small letters."""
_UNPRINTABLE: Final = re.compile("[^\\x20-\\x7e\\xa0-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]")


def yaml_text(wf_spec: WfSpec) -> str:
    """Return the document of a WfSpec as YAML; as JSON, which is YAML too, if it has very long keys."""
    document = document_of(wf_spec, _texts())
    if any(len(key) > KEY_LENGTH_MAX for key in _keys(document)):
        return json.dumps(document, indent=2) + "\n"
    return "\n".join(_block(document, "")) + "\n"


def _texts() -> Form:
    """Return a form that writes text as long as a document may have it, and trees from there on."""
    left = TEXT_LENGTH_MAX

    def fits(text: str) -> bool:
        nonlocal left
        left -= len(text)
        return left >= 0

    def expression(tree: Expression) -> Any:
        if isinstance(tree, Literal):
            return TREES.expression(tree)
        text = expression_text(tree)
        return {TEXT: text} if fits(text) else TREES.expression(tree)

    def mutation(it: Mutation) -> Any:
        text = mutation_text(it)
        return text if fits(text) else TREES.mutation(it)

    return Form(expression, mutation)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(item)


def _block(value: dict[str, Any], indent: str) -> Iterator[str]:
    """Yield the lines of a mapping."""
    for key, item in value.items():
        yield from _entry(f"{indent}{_scalar(key)}:", item, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    """Yield the lines of a value behind a key or a dash: on that line if it fits there."""
    flow = _flow(value)
    if not value or not isinstance(value, dict | list) or len(head) + 1 + len(flow) <= WIDTH:
        yield f"{head} {flow}"
    elif isinstance(value, dict):
        yield head
        yield from _block(value, indent + STEP)
    else:
        yield head
        for item in value:
            yield from _item(item, indent + STEP)


def _item(value: Any, indent: str) -> Iterator[str]:
    """Yield the lines of an item of a list."""
    flow = _flow(value)
    if not value or not isinstance(value, dict) or len(indent) + 2 + len(flow) <= WIDTH:
        yield f"{indent}- {_scalar(value) if isinstance(value, str) else flow}"
        return
    first, *others = _block(value, indent + STEP)
    yield f"{indent}- {first.strip()}"
    yield from others


def _flow(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return f"[{', '.join(map(_flow, value))}]"
        case str():
            return _scalar(value)
        case _:
            return json.dumps(value)


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return _UNPRINTABLE.sub(lambda it: f"\\u{ord(it.group()):04x}", json.dumps(text, ensure_ascii=False))
