"""Writes the document of a WfSpec; `reader` reads it back to an equal WfSpec.

Defaults are left out, and of two ways to write something the shorter is taken. So the documents of equal WfSpecs differ
in the order of their keys alone, whoever wrote them; `canonical` sorts the keys.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from processors.core.records.spec import (
    TIMEOUT_S,
    AnyNode,
    Backoff,
    Cast,
    Edge,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    FailureHandlerDef,
    Format,
    ListOf,
    Literal,
    Mutation,
    NopNode,
    Operation,
    OutputRef,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThreadSpec,
    ThrowEventNode,
    VariableRef,
    WaitForConditionNode,
    WaitForThreadsNode,
    WfSpec,
)
from processors.core.records.values import Timestamp, Value, iso_of
from processors.core.wf_spec.expression_forms import EXPRESSION_DEPTH_MAX


def document_text(wf_spec: WfSpec) -> str:
    """Return the document of a WfSpec as JSON text, in its author's order."""
    return json.dumps(document_of(wf_spec), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def canonical(wf_spec: WfSpec) -> str:
    """Return the document with its keys in alphabetical order: the same text exactly for equal WfSpecs."""
    return json.dumps(document_of(wf_spec), ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Form:
    """How expressions and mutations are written."""

    expression: Callable[[Expression], Any]
    mutation: Callable[[Mutation], Any]


def document_of(wf_spec: WfSpec, form: Form | None = None) -> dict[str, Any]:
    """Return the document of a WfSpec as plain data; with a form, what its expressions and mutations are written as."""
    form = TREES if form is None else form
    return _without_defaults(
        {
            "name": wf_spec.name,
            "entrypoint": wf_spec.entrypoint,
            "retention_s": wf_spec.retention_s,
            "correlated_events": _expressions_document(wf_spec.correlated_events, form),
            "threads": {name: _thread_document(thread, form) for name, thread in wf_spec.threads.items()},
        },
        threads=None,
    )


def _without_defaults(fields: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the fields that differ from their default, which is null or an empty container if none is named."""
    kept = {}
    for name, value in fields.items():
        is_default = value == defaults[name] if name in defaults else value is None or value in ({}, [])
        if not is_default:
            kept[name] = value
    return kept


def _thread_document(thread: ThreadSpec, form: Form) -> dict[str, Any]:
    return {
        **_without_defaults(
            {
                "variables": {
                    name: _without_defaults(
                        {
                            "type": variable.type.value,
                            "default": _default_document(variable.default),
                            "required": variable.required,
                            "masked": variable.masked,
                            "searchable": variable.searchable,
                        },
                        default=None,
                        required=False,
                        masked=False,
                        searchable=False,
                    )
                    for name, variable in thread.variables.items()
                },
                "interrupts": [
                    _without_defaults(
                        {
                            "event": interrupt.external_event_def,
                            "handler": interrupt.handler,
                            "policy": interrupt.policy.value,
                            "halt": interrupt.halt,
                            "preemptive": interrupt.preemptive,
                        },
                        policy="parallel",
                        halt=True,
                        preemptive=False,
                    )
                    for interrupt in thread.interrupts
                ],
            }
        ),
        "nodes": {name: _node_document(node, form) for name, node in thread.nodes.items()},
    }


def _default_document(value: Value) -> object:
    match value:
        case Timestamp():
            text = iso_of(value)
            return text if text.endswith("Z") else value.epoch_ms
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def _node_document(node: AnyNode, form: Form) -> dict[str, Any]:
    edges = [_edge_document(edge, form) for edge in node.edges]
    common = _without_defaults(
        {
            "next": edges[0] if len(edges) == 1 else edges,
            "on_failure": [_failure_handler_document(handler) for handler in node.failure_handlers],
        }
    )
    return {**_kind_document(node, form), **common}


def _kind_document(node: AnyNode, form: Form) -> dict[str, Any]:
    match node:
        case EntrypointNode():
            return {"kind": "ENTRYPOINT"}
        case NopNode():
            return {"kind": "NOP"}
        case ExitNode(failure_name=None):
            return {"kind": "EXIT", **_expressions_document({"return": node.returns}, form)}
        case ExitNode():
            content = _expressions_document({"message": node.failure_message, "content": node.failure_content}, form)
            return {"kind": "EXIT", "fail": {"name": node.failure_name, **content}}
        case TaskNode():
            return {
                "kind": "TASK",
                "task": node.task_def,
                **_input_document(node.input, form),
                **_expressions_document(
                    {"timeout_s": None if node.timeout_s == Literal(TIMEOUT_S) else node.timeout_s}, form
                ),
                # Both, also where one is the default: then it says by itself what it means.
                **_expressions_document(
                    {"queue_timeout_s": node.queue_timeout_s, "run_timeout_s": node.run_timeout_s}, form
                ),
                **({"retries": node.retries} if node.retries else {}),
                **({"backoff": _backoff_document(node.backoff)} if node.backoff else {}),
            }
        case ExternalEventNode():
            return {
                "kind": "EXTERNAL_EVENT",
                "event": node.external_event_def,
                **_expressions_document({"timeout_s": node.timeout_s}, form),
            }
        case SleepNode():
            forms = {"seconds": node.seconds, "until": node.until_ms, "until_iso": node.until_iso}
            return {"kind": "SLEEP", **_expressions_document(forms, form)}
        case StartThreadNode():
            return {"kind": "START_THREAD", "thread": node.thread, **_input_document(node.input, form)}
        case StartMultipleThreadsNode():
            return {
                "kind": "START_MULTIPLE_THREADS",
                "thread": node.thread,
                "over": form.expression(node.over),
                **_input_document(node.input, form),
            }
        case WaitForThreadsNode():
            return {
                "kind": "WAIT_FOR_THREADS",
                **_without_defaults(
                    {
                        "threads": form.expression(node.threads),
                        "strategy": node.strategy.value,
                        "on_child_failure": [_failure_handler_document(item) for item in node.on_child_failure],
                    },
                    threads=None,
                    strategy="ALL",
                ),
            }
        case WaitForConditionNode():
            return {"kind": "WAIT_FOR_CONDITION", "condition": form.expression(node.condition)}
        case ThrowEventNode():
            return {
                "kind": "THROW_EVENT",
                "event": node.workflow_event_def,
                **_expressions_document({"content": None if node.content == Literal(None) else node.content}, form),
            }


def _expressions_document(expressions: Mapping[str, Expression | None], form: Form) -> dict[str, Any]:
    return {name: form.expression(item) for name, item in expressions.items() if item is not None}


def _input_document(given: Mapping[str, Expression], form: Form) -> dict[str, Any]:
    return {"input": _expressions_document(given, form)} if given else {}


def _backoff_document(backoff: Backoff) -> dict[str, Any]:
    return {"base_ms": backoff.base_ms, "multiplier": backoff.multiplier, "max_ms": backoff.max_ms}


def _failure_handler_document(handler: FailureHandlerDef) -> dict[str, Any]:
    return _without_defaults({"catch": handler.catch, "handler": handler.handler})


def _edge_document(edge: Edge, form: Form) -> Any:
    if edge.when is None and not edge.mutations:
        return edge.to
    return {
        "to": edge.to,
        **_expressions_document({"when": edge.when}, form),
        **_without_defaults({"set": [form.mutation(mutation) for mutation in edge.mutations]}),
    }


def _mutation_document(mutation: Mutation) -> dict[str, Any]:
    return {
        "var": mutation.variable,
        **({"path": str(mutation.path)} if mutation.path is not None else {}),
        "op": mutation.operator.value,
        "value": expression_document(mutation.value),
    }


def expression_document(expression: Expression, depth: int = 0) -> Any:
    """Return an expression as it is written in a document, where `depth` others are around it."""
    match expression:
        case Literal(value):
            return _literal_document(value, depth)
        case VariableRef(name, path):
            return {"var": name, **({"path": str(path)} if path is not None else {})}
        case OutputRef(node, path):
            return {"output": node, **({"path": str(path)} if path is not None else {})}
        case Format(template, args):
            return {"format": template, "args": _operands_document(args, depth)}
        case Cast(operand, target):
            return {"cast": [expression_document(operand, depth + 1), target.value]}
        case ListOf(items):
            return _operands_document(items, depth)
        case Operation(operator, operands):
            return {operator.value: _operands_document(operands, depth)}


def _operands_document(operands: Sequence[Expression], depth: int) -> list[Any]:
    return [expression_document(operand, depth + 1) for operand in operands]


TREES = Form(expression_document, _mutation_document)
"""As an engine stores them."""


def _literal_document(value: Value, depth: int) -> Any:
    """Return a literal as it stands if it is read back as the same, else under `literal`.

    The items of a list are read as expressions, and lie one deeper than the list.
    """
    nested = isinstance(value, list) and any(isinstance(item, dict | list) for item in value)
    too_deep = isinstance(value, list) and value != [] and depth == EXPRESSION_DEPTH_MAX
    return {"literal": value} if nested or too_deep or isinstance(value, dict) else value
