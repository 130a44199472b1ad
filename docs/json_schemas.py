"""Write the JSON Schemas of the documents that people write; with --check, fail if they differ from what readers know.

python docs/json_schemas.py

Editors complete and check documents by them (docs/editors.md). They are of draft 7, which editors know best. What a
schema cannot say, `halter spec check` does; docs/editors.md lists it.
"""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeAlias

from halter.bindings import document as bindings_document
from halter.bindings.model import FormatKind, Framing, Tombstone
from halter.cli import document_schemas
from halter.explore.claims import FORMS
from halter.files.definitions_document import DEFINITION_FIELDS
from halter.files.scenario_document import (
    _EXPECT_FIELDS,
    _START_FIELDS,
    _STEPS,
    _THREAD_FIELDS,
    DEFINITION_CODES,
    DEFINITIONS,
    EVENT_FIELDS,
    SCENARIO_FIELDS,
    _ReportStatus,
)
from halter.sinks.document import EVENTS, SINK_FIELDS
from halter.sinks.model import GROUPS
from halter.transform.templates import FIELDS, TOPIC_NAME
from processors.core.records.events import RejectionCode
from processors.core.records.model import Status, ThreadType
from processors.core.records.names import INNER_NAME, NAME, NAME_LENGTH_MAX
from processors.core.records.spec import InterruptPolicy, MutationOperator, Operator, WaitStrategy
from processors.core.records.values import VariableType
from processors.core.rules.context import Limits
from processors.core.wf_spec.expression_forms import EXPRESSIONS, OPERANDS, TEXT
from processors.core.wf_spec.reader import _KINDS, MILLISECONDS_MAX, RETRIES_MAX, SECONDS_MAX
from processors.core.wf_spec.validate.examination import THREADS_MAX
from processors.core.wf_spec.validate.threads import INTERRUPTS_MAX, NODES_MAX, VARIABLES_MAX

FOLDER: Final = Path(__file__).parents[1] / document_schemas.FOLDER
Schema: TypeAlias = dict[str, Any]
DRAFT: Final = "http://json-schema.org/draft-07/schema#"
ROUND: Final = r"\{n\}"
"""What `repeat` puts a number for."""


def main() -> int:
    """Write the files, or compare them."""
    wanted = {FOLDER / f"{name}{document_schemas.SUFFIX}": text_of(schema) for name, schema in documents().items()}
    if "--check" not in sys.argv[1:]:
        FOLDER.mkdir(exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    differ = [path.name for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if differ:
        print(f"{', '.join(differ)}: run python docs/json_schemas.py", file=sys.stderr)
    return 1 if differ else 0


def text_of(schema: Schema) -> str:
    """Return a schema as it is published."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def documents() -> dict[str, Schema]:
    """Return the schema of each kind of document."""
    is_of_definitions = {"anyOf": [{"required": [name]} for name in DEFINITION_FIELDS]}
    of_definitions = mapping(definitions(), "A file of definitions.")
    return {
        "wf-spec": document("A WfSpec of Halter", ref("wf_spec"), WF_SPECS),
        "definitions": document(
            "A WfSpec of Halter, or a file of definitions",
            {"type": "object", "if": is_of_definitions, "then": of_definitions, "else": ref("wf_spec")},
            WF_SPECS,
        ),
        "scenario": document("A scenario of Halter", scenario(), {**WF_SPECS, **SCENARIOS}),
        "claims": document("Claims about a WfSpec, for halter explore", claims(), EXPRESSION),
        "bindings": document("Bindings of Halter", bindings(), {**EXPRESSION, **TEMPLATES, **BINDINGS}),
        "sink": document("A sink of Halter", sink(), {**EXPRESSION, **TEMPLATES}),
    }


def document(title: str, schema: Schema, shared: dict[str, Schema]) -> Schema:
    """Return a whole schema, with the parts that it refers to."""
    return {"$schema": DRAFT, "title": title, **schema, "definitions": shared}


# Parts.


def ref(name: str, says: str = "") -> Schema:
    """Refer to a shared part. What stands beside a $ref is ignored, so a description needs one around it."""
    found = {"$ref": f"#/definitions/{name}"}
    return {"description": says, "allOf": [found]} if says else found


def mapping(known: dict[str, Schema], says: str = "", required: tuple[str, ...] = (), **more: Any) -> Schema:
    """Return a mapping that may have these fields and no others."""
    return {
        **({"description": says} if says else {}),
        "type": "object",
        "properties": known,
        **({"required": list(required)} if required else {}),
        "additionalProperties": False,
        **more,
    }


def entries(schema: Schema, says: str, pattern: str | None = None, most: int | None = None) -> Schema:
    """Return a mapping of names that the author chose."""
    return {
        "description": says,
        "type": "object",
        **({"propertyNames": name_of(pattern)} if pattern else {}),
        **({"maxProperties": most} if most else {}),
        "additionalProperties": schema,
    }


def items(schema: Schema, says: str = "", **more: Any) -> Schema:
    """Return a list."""
    return {**({"description": says} if says else {}), "type": "array", "items": schema, **more}


def name_of(pattern: str) -> Schema:
    """Return a name."""
    return {"type": "string", "pattern": f"^{pattern}$", "maxLength": NAME_LENGTH_MAX}


def text(says: str = "") -> Schema:
    """Return a text."""
    return {"description": says, "type": "string"} if says else {"type": "string"}


def flag(says: str) -> Schema:
    """Return true or false."""
    return {"description": says, "type": "boolean"}


def whole(most: int, says: str, **more: Any) -> Schema:
    """Return a whole number from 0."""
    return {"description": says, "type": "integer", "minimum": 0, "maximum": most, **more}


def one_of(values: Any, says: str = "", **more: Any) -> Schema:
    """Return one of some texts."""
    return {**({"description": says} if says else {}), "enum": [str(value) for value in values], **more}


def or_null(schema: Schema) -> Schema:
    """Return what may also be null."""
    return {"anyOf": [{"type": "null"}, schema]}


INNER: Final = INNER_NAME.pattern
OUTER: Final = NAME.pattern
TYPE: Final = one_of(VariableType, "TIMESTAMP is written as ISO 8601 or milliseconds, BYTES as base64.")
JSON_PATH: Final = {
    "description": 'A path into a JSON_OBJ or JSON_ARR: $.a.b[0] or $["a key"].',
    "type": "string",
    "pattern": r"""^\$(\.[^.\[\]\s"']+|\[[0-9]{1,9}\]|\[("([^"\\]|\\.)*"|'([^'\\]|\\.)*')\])*$""",
}


# Expressions.


def _operands(operator: Operator) -> Schema:
    fewest, most = OPERANDS[operator]
    bounds = {"minItems": fewest, "maxItems": most}
    if most == 1:
        return {"allOf": [ref("expression"), bounds]}
    return {"type": "array", "items": ref("expression"), **bounds}


SAYS: Final = {
    "var": "A Variable in scope, or INPUT.",
    "output": "A node of this ThreadSpec: the output of its latest completed run.",
    "literal": "A value that stands for itself; for mappings.",
    "format": "A template with {0}, {1}, … for its args.",
    "cast": "A value and the type that it becomes.",
    TEXT: "The expression as text: total + INPUT.quantity * INPUT.price_cents",
    "add": "The sum; STR and any primitive are joined, a TIMESTAMP moves by milliseconds.",
    "divide": "The quotient; INT by INT drops the fraction.",
    "in": "Whether the first is an item of a JSON_ARR, a key of a JSON_OBJ or a part of a STR.",
    "not_in": "The opposite of in.",
    "size_of": "The number of items, keys, characters or bytes.",
}


def _expression() -> Schema:
    forms: dict[str, Schema] = {
        "var": text(),
        "output": text(),
        "literal": {},
        "format": text(),
        "cast": {"type": "array", "items": [ref("expression"), TYPE], "minItems": 2, "additionalItems": False},
        TEXT: {"type": "string", "minLength": 1},
        **{operator.value: _operands(operator) for operator in Operator},
    }
    beside = {"path": JSON_PATH, "args": items(ref("expression"), "What {0}, {1}, … of the template stand for.")}
    assert forms.keys() == EXPRESSIONS.keys()
    known = {name: {"description": SAYS[name], **schema} if name in SAYS else schema for name, schema in forms.items()}
    of_mapping = {
        "properties": known | beside,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in forms],
        "dependencies": {
            name: {"anyOf": [{"required": [form]} for form, others in EXPRESSIONS.items() if name in others]}
            for name in beside
        },
    }
    return {
        "description": "A value that stands for itself, a list of expressions, or a mapping that says what to compute.",
        "if": {"type": "object"},
        "then": of_mapping,
        "items": ref("expression"),
    }


EXPRESSION: Final[dict[str, Schema]] = {"expression": _expression()}


# WfSpecs.


def _node() -> Schema:
    fields_of = {
        "fail": mapping(
            {"name": text("Letters, digits and -."), "message": ref("expression"), "content": ref("expression")},
            "The thread fails with this.",
            ("name",),
        ),
        "return": ref("expression", "The result of the thread."),
        "task": text("A TaskDef."),
        "input": entries(ref("expression"), "Name of an input → expression.", INNER),
        "timeout_s": ref("expression", "Seconds. Of a TASK from the request of an attempt; 60 by default."),
        "queue_timeout_s": ref("expression", "Seconds until a task worker begins; 300 by default."),
        "run_timeout_s": ref("expression", "Seconds that a task worker may take from there; 60 by default."),
        "retries": whole(RETRIES_MAX, "How often a failed attempt is tried again.", default=0),
        "backoff": mapping(
            {
                "base_ms": whole(MILLISECONDS_MAX, "The wait after the first attempt.", default=1000),
                "multiplier": {"type": "number", "minimum": 1, "maximum": 1000, "default": 2},
                "max_ms": whole(MILLISECONDS_MAX, "The longest wait.", default=60_000),
            },
            "The wait between attempts.",
        ),
        "event": text("An ExternalEventDef, or a WorkflowEventDef that is thrown."),
        "seconds": ref("expression", "How long to sleep."),
        "until": ref("expression", "A TIMESTAMP, or milliseconds since 1970."),
        "until_iso": ref("expression", "A time as text of ISO 8601."),
        "thread": text("The ThreadSpec to start."),
        "over": ref("expression", "A JSON_ARR: a child for each item, which is its INPUT."),
        "threads": ref("expression", "A list of thread numbers: [{output: start}]."),
        "strategy": one_of(WaitStrategy, "Wait for all, until one succeeds, or until one ends.", default="ALL"),
        "on_child_failure": items(ref("failure_handler"), "Handlers below the child that failed."),
        "condition": ref("expression", "BOOL: the thread waits until it is true."),
        "content": ref("expression", "The content of the event."),
    }
    required = {
        "TASK": ("task",),
        "EXTERNAL_EVENT": ("event",),
        "START_THREAD": ("thread",),
        "START_MULTIPLE_THREADS": ("thread", "over"),
        "WAIT_FOR_THREADS": ("threads",),
        "WAIT_FOR_CONDITION": ("condition",),
        "THROW_EVENT": ("event",),
    }
    more: dict[str, Schema] = {
        "SLEEP": {"oneOf": [{"required": [name]} for name in _KINDS["SLEEP"].fields]},
        "EXIT": {"not": {"required": ["fail", "return"]}},
        "TASK": {
            "not": {
                "required": ["timeout_s"],
                "anyOf": [{"required": ["queue_timeout_s"]}, {"required": ["run_timeout_s"]}],
            }
        },
    }
    assert required.keys() | more.keys() <= _KINDS.keys()
    kinds = []
    for kind, form in _KINDS.items():
        known = {"kind": {}, **{name: fields_of[name] for name in form.fields}}
        known |= {} if kind == "EXIT" else {"next": ref("next")}
        known["on_failure"] = items(ref("failure_handler"), "The first that matches the failure of this node starts.")
        then = {
            "properties": known,
            "required": [*required.get(kind, ()), *(() if kind == "EXIT" else ("next",))],
            "additionalProperties": False,
            **more.get(kind, {}),
        }
        kinds.append({"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": then})
    kind = one_of(_KINDS, "What the thread does here.")
    return {"type": "object", "properties": {"kind": kind}, "required": ["kind"], "allOf": kinds}


WF_SPECS: Final[dict[str, Schema]] = {
    **EXPRESSION,
    "mutation": {
        "anyOf": [
            {"description": "As text: total += INPUT, or extend(items, INPUT).", "type": "string", "minLength": 1},
            mapping(
                {
                    "var": text("A Variable in scope."),
                    "path": JSON_PATH,
                    "op": one_of(MutationOperator),
                    "value": ref("expression"),
                },
                required=("var", "op", "value"),
            ),
        ]
    },
    "edge": {
        "anyOf": [
            text("A node of this ThreadSpec."),
            mapping(
                {
                    "to": text("A node of this ThreadSpec."),
                    "when": ref("expression", "BOOL: the first edge whose condition holds is taken."),
                    "set": {
                        "description": "What changes on the way, together or not at all.",
                        "anyOf": [{"type": "string", "minLength": 1}, items(ref("mutation"))],
                    },
                },
                required=("to",),
            ),
        ]
    },
    "next": {"anyOf": [ref("edge"), items(ref("edge"), minItems=1)]},
    "failure_handler": mapping(
        {
            "handler": text("A ThreadSpec. The failure's content is its INPUT."),
            "catch": text("ERROR, EXCEPTION, one of the engine's failures, or the name of a failure; without it any."),
        },
        required=("handler",),
    ),
    "variable": mapping(
        {
            "type": TYPE,
            "default": {"description": "The value without another."},
            "required": flag("RunWf has to give it."),
            "masked": flag("Tools show [redacted]."),
            "searchable": flag("A view finds WfRuns quickly by its value. Of the entrypoint, and not masked."),
        },
        required=("type",),
    ),
    "interrupt": mapping(
        {
            "event": text("An ExternalEventDef."),
            "handler": text("A ThreadSpec, which runs as a child. The event's content is its INPUT."),
            "policy": one_of(InterruptPolicy, "What a second event does meanwhile.", default="parallel"),
            "halt": flag("False: the handler runs beside the thread."),
            "preemptive": flag("An earlier event that no thread has taken interrupts, too."),
        },
        required=("event", "handler"),
    ),
    "node": _node(),
    "thread": mapping(
        {
            "variables": entries(ref("variable"), "What the thread stores from its start.", INNER, VARIABLES_MAX),
            "interrupts": items(ref("interrupt"), "ExternalEvents that halt the thread.", maxItems=INTERRUPTS_MAX),
            "nodes": entries(ref("node"), "One is an ENTRYPOINT, at least one an EXIT.", INNER, NODES_MAX),
        },
        required=("nodes",),
    ),
    "wf_spec": mapping(
        {
            "name": {"description": "The name of the WfSpec.", **name_of(OUTER)},
            "entrypoint": text("The ThreadSpec of thread 0."),
            "retention_s": whole(SECONDS_MAX, "Seconds that a finished WfRun is remembered; a week by default."),
            "correlated_events": entries(
                ref("expression"), "ExternalEventDef → the key by which its CorrelatedEvents find the WfRun."
            ),
            "threads": entries(ref("thread"), "Name → ThreadSpec.", INNER, THREADS_MAX),
        },
        required=("name", "entrypoint", "threads"),
    ),
}  # fmt: skip


def definitions() -> dict[str, Schema]:
    """Return the fields of a document of definitions."""
    event = or_null(mapping({"type": TYPE}))
    given = {"anyOf": [TYPE, mapping({"type": TYPE, "optional": flag("It may be left out.")}, required=("type",))]}
    task = mapping(
        {
            "queue": {"description": "Its requests go to task-requests-QUEUE.", **name_of(OUTER)},
            "input": entries(given, "Name → type; without it, inputs are not checked.", INNER),
            "output": TYPE,
        }
    )
    known = {
        "external_events": or_null(entries(event, "ExternalEventDefs: name → {type}, or {} for any content.", OUTER)),
        "workflow_events": or_null(entries(event, "WorkflowEventDefs: what THROW_EVENT nodes throw.", OUTER)),
        "tasks": or_null(entries(or_null(task), "TaskDefs.", OUTER)),
        "wf_specs": items({"anyOf": [text("A file beside this one."), ref("wf_spec")]}, "WfSpecs, or their files."),
    }
    assert known.keys() == set(DEFINITION_FIELDS)
    return known


# Scenarios.

NUMBER: Final = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": rf"^([0-9]|{ROUND})+$"}]}
VERSION: Final = {
    "anyOf": [
        {"type": "null"},
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": rf"^([0-9]|{ROUND})+(\.([0-9]|{ROUND})+)?$"},
    ]
}
DURATION: Final = {"type": "string", "pattern": rf"^\+([0-9]|{ROUND})+(ms|s|m|h|d)$"}
HALT_REASON: Final = {
    "type": "string",
    "pattern": r"^(PENDING_INTERRUPT\([\s\S]+\)|(INTERRUPTED|PARENT_HALTED|HANDLING_FAILURE|HALTED_BY_PARENT)\(.+\)"
    r"|PENDING_FAILURE|MANUAL_HALT)$",
}
KEY: Final = {"description": "The correlation key.", "type": ["string", "integer"]}
VALUE: Final[Schema] = {}


def _failure(*more: str) -> Schema:
    known = dict.fromkeys((*more, "name", "message", "class", "content"), VALUE)
    return or_null(mapping({**known, "cause": ref("cause")}))


def _steps() -> dict[str, Schema]:
    wf, thread, attempt = text("The id of a WfRun."), NUMBER, NUMBER
    in_events = {
        "anyOf": [
            one_of(sorted(EVENT_FIELDS)),
            mapping(
                {
                    name: or_null(mapping(dict.fromkeys(sorted(known), VALUE)))
                    for name, known in sorted(EVENT_FIELDS.items())
                },
                minProperties=1,
                maxProperties=1,
            ),
        ]
    }
    thread_of = {
        "status": one_of(Status),
        "type": one_of(ThreadType),
        "parent": VALUE,
        "spec": VALUE,
        "node": VALUE,
        "node_status": one_of(Status),
        "halt_reasons": items(HALT_REASON),
        "children": items(VALUE),
        "failure": _failure(),
        "output": VALUE,
    }
    assert thread_of.keys() == set(_THREAD_FIELDS)
    by_number = {"type": "object", "propertyNames": {"pattern": rf"^([0-9]|{ROUND})+$"}}
    task_of = dict.fromkeys(("thread", "task", "attempt", "input", "started", "progress"), VALUE)
    expected = {
        "wf": wf,
        "status": one_of([*Status, "ABSENT"]),
        "threads": {**by_number, "additionalProperties": {"anyOf": [{"const": "absent"}, mapping(thread_of)]}},
        "variables": {**by_number, "additionalProperties": {"type": "object"}},
        "unclaimed": items(VALUE),
        "dropped": items(VALUE),
        "superseded": items(VALUE),
        "outcomes": or_null({"type": "object"}),
        "tasks_out": items(mapping(task_of)),
        "thread_count": NUMBER,
    }
    assert expected.keys() == set(_EXPECT_FIELDS)
    started = {"spec": text("A WfSpec."), "version": VERSION, "variables": or_null({"type": "object"})}
    assert started.keys() == set(_START_FIELDS)
    code = one_of(RejectionCode)
    defined = {DEFINITIONS: NAMED, **definitions()}
    steps: dict[str, Schema] = {
        "run": mapping({"id": wf, **started}, "RunWf.", ("id", "spec")),
        "fork": mapping({"wf": wf, "as": text("The id of the fork."), "version": VERSION}, "", ("wf", "as")),
        "event": mapping(
            {
                "wf": wf,
                "name": text("An ExternalEventDef."),
                "id": text(),
                "content": VALUE,
                "thread": NUMBER,
                "start": mapping(started, "Starts the WfRun first, if there is none.", ("spec",)),
            },
            "An ExternalEvent.",
            ("wf", "name", "id"),
            **{"not": {"required": ["thread", "start"]}},
        ),
        "correlate": mapping(
            {"name": text("An ExternalEventDef."), "key": KEY, "id": text(), "content": VALUE},
            "A CorrelatedEvent: an event for every WfRun that has the key.",
            ("name", "key", "id"),
        ),
        "start_task": mapping({"wf": wf, "thread": thread, "attempt": attempt}, "A task worker begins.", ("wf",)),
        "report_progress": mapping(
            {"wf": wf, "thread": thread, "attempt": attempt, "content": VALUE}, "A task worker's progress.", ("wf",)
        ),
        "report": mapping(
            {
                "wf": wf,
                "thread": thread,
                "status": one_of(_ReportStatus),
                "output": VALUE,
                "name": text(),
                "message": text(),
                "content": VALUE,
                "attempt": attempt,
            },
            "A task worker's result.",
            ("wf", "status"),
        ),
        "stop": mapping({"wf": wf, "thread": thread}, "StopWfRun.", ("wf",)),
        "resume": mapping({"wf": wf, "thread": thread}, "ResumeWfRun.", ("wf",)),
        "rescue": mapping(
            {"wf": wf, "thread": thread, "skip_current_node": flag("Go on behind the node that failed.")}, "", ("wf",)
        ),
        "migrate": mapping({"wf": wf, "version": VERSION}, "MigrateWfRun.", ("wf", "version")),
        "delete": mapping({"wf": wf}, "DeleteWfRun.", ("wf",)),
        "clock": {"description": "Time goes on: +5s, +200ms, +2m, +1h or +7d.", **DURATION},
        "define": mapping(defined, "Registers definitions."),
        "crash": or_null(mapping({}, "The worker dies and comes back.")),
        "expect": mapping(expected, "What is so now.", ("wf",)),
        "expect_events": {
            "description": "The events since the last of these steps.",
            "anyOf": [items(in_events), mapping({"contains": items(in_events)}, "", ("contains",))],
        },
        "expect_rejected": or_null(mapping({"code": code}, "The last command is rejected.")),
        "expect_correlation": mapping(
            {
                "name": text("An ExternalEventDef."),
                "key": KEY,
                "wf_runs": items(text(), "The WfRuns that have the key, in the order in which they registered it."),
                "waiting": items(text(), "The ids of the events that wait for a WfRun."),
            },
            "What is so now of a correlation key.",
            ("name", "key"),
            anyOf=[{"required": ["wf_runs"]}, {"required": ["waiting"]}],
        ),
        "expect_definition_rejected": or_null(
            mapping({"code": one_of(DEFINITION_CODES)}, "The definitions are refused; in place of all other steps.")
        ),
    }
    assert steps.keys() == _STEPS.keys()
    return steps


NAMED: Final = {
    "description": "Files of definitions, or MODULE:NAME of a Workflow in Python.",
    "anyOf": [{"type": "null"}, text(), items(text())],
}
SCENARIOS: Final[dict[str, Schema]] = {
    "cause": _failure("thread"),
    "steps": items(
        mapping(
            {
                **_steps(),
                "repeat": mapping(
                    {"times": NUMBER, "steps": ref("steps")}, "These steps so many times; {n} is the round."
                ),
            },
            minProperties=1,
            maxProperties=1,
        )
    ),
}


def scenario() -> Schema:
    """Return the schema of a scenario."""
    limits = {it.name: NUMBER for it in fields(Limits) if not it.name.startswith("bytes_")}
    known = {
        "name": text("What the scenario shows."),
        DEFINITIONS: NAMED,
        **definitions(),
        "start": {"description": "The time of the first step, ISO 8601.", "type": ["string", "number"]},
        "limits": or_null(mapping(limits, "Bounds of the engine, to be smaller.")),
        "steps": ref("steps", "What happens, and what is expected."),
    }
    assert known.keys() == set(SCENARIO_FIELDS)
    return mapping(known, "", ("name", "steps"))


# Claims.


def claims() -> Schema:
    """Return the schema of a document of claims."""
    condition = {"allOf": [ref("expression"), {"type": "object"}]}
    values = entries(items(VALUE, minItems=1), "Name → the values to try.")
    forms = {form: entries(condition, f"Name of a claim → what is {form} so.") for form in FORMS}
    return mapping(
        {
            **forms,
            "values": mapping({"events": values, "tasks": values, "variables": values}, "The values to try."),
        }
    )


# Bindings and sinks.

TOPIC: Final = {"type": "string", "pattern": f"^{TOPIC_NAME.pattern}$"}
TEMPLATES: Final[dict[str, Schema]] = {
    "text_first": {
        "type": ["string", "number", "boolean", "null", "array", "object"],
        "minLength": 1,
        "items": ref("text_first"),
        "if": {"type": "object"},
        "then": ref("expression"),
    },
    "template": {
        "if": {"type": "object", "required": [FIELDS]},
        "then": mapping({FIELDS: entries(ref("template"), "Name of a member → what it is.")}),
        "else": ref("text_first"),
    },
}


def template(says: str) -> Schema:
    """Return what is computed from a record, and may be an object of fields.

    All that is to be said stands here: of several descriptions, editors show the innermost.
    """
    return ref("template", f"{says} An expression, or {{fields: {{name: expression, …}}}} for an object.")


def computed(says: str) -> Schema:
    """Return what is computed from a record."""
    return ref("text_first", f"{says} An expression; a text that stands for itself is {{literal: …}}.")


def _format() -> Schema:
    files = {
        "schema": text("The file of an Avro schema. Without it, the Schema Registry has it."),
        "descriptor": text("The file that protoc --include_imports --descriptor_set_out writes."),
        "message": text("The full name of the message; it may be left out if the file has one."),
    }
    of = {FormatKind.AVRO: ["schema"], FormatKind.PROTOBUF: ["descriptor", "message"]}
    forms = []
    for kind in FormatKind:
        framings = bindings_document.FRAMINGS.get(kind, (Framing.BARE,))
        framing = one_of(framings, "What stands before the bytes.", default=framings[0].value)
        known = {"type": {}, "framing": framing, **{name: files[name] for name in of.get(kind, ())}}
        then: Schema = {"properties": known, "additionalProperties": False}
        if kind is FormatKind.PROTOBUF:
            then["required"] = ["descriptor"]
        if kind is FormatKind.AVRO:
            by_one_schema = [it.value for it in framings if it is not Framing.CONFLUENT]
            then["if"] = {"properties": {"framing": {"enum": by_one_schema}}, "required": ["framing"]}
            then["then"] = {"required": ["schema"]}
        forms.append({"if": {"properties": {"type": {"const": kind.value}}, "required": ["type"]}, "then": then})
    assert {"type", "framing", *files} == set(bindings_document.FORMAT_FIELDS)
    long = {
        "type": "object",
        "properties": {"type": one_of(FormatKind, "The format.")},
        "required": ["type"],
        "allOf": forms,
    }
    return {"anyOf": [one_of(it for it in FormatKind if it is not FormatKind.PROTOBUF), long]}


def _start() -> Schema:
    version = {
        "description": 'Without it, the newest: 1, or "1.2" with quotation marks.',
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 999_999_999},
            {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"},
        ],
    }
    known = {
        "wf_spec": text("The WfSpec."),
        "version": version,
        "inputs": entries(template("Its value."), "Name of a Variable → its value."),
    }
    assert known.keys() == set(bindings_document.START_FIELDS)
    return {"anyOf": [text(), mapping(known, "", ("wf_spec",))]}


def _of_event() -> dict[str, Schema]:
    known = {
        "event": {"description": "The ExternalEventDef.", **name_of(OUTER)},
        "wf_run_id": computed("The WfRun that gets the event."),
        "correlate": computed("In place of wf_run_id: a key, by which WfRuns are found."),
        "event_id": computed("The id of the event. Without it, it follows from the record's place."),
        "content": template("The content. Without it: the value; with each, the item."),
        "start": ref("start", "The WfSpec to start first, if there is no such WfRun."),
    }
    assert known.keys() == set(bindings_document.EVENT_FIELDS)
    return known


def has(*names: str) -> Schema:
    """Return what has all of these fields."""
    return {"required": list(names)}


HAS_WAY: Final = {"anyOf": [has("wf_run_id"), has("correlate")]}
"""An event says which WfRuns get it, in one way."""
ONE_WAY: Final = {"not": {"anyOf": [has("wf_run_id", "correlate"), has("correlate", "start")]}}


def _binding() -> Schema:
    def of_each(schema: Schema) -> Schema:
        return {"properties": {"events": {"items": schema}}, **has("events")}

    when = computed("Only records for which this is true.")
    event = mapping({"when": computed("Only then is this event made."), **_of_event()}, **ONE_WAY)
    tombstone = mapping(_of_event(), "", ("event",), allOf=[HAS_WAY, ONE_WAY])
    known = {
        "name": {"description": "The name of the binding; dead letters have it.", **name_of(OUTER)},
        "topic": {"description": "The topic on the cluster.", **TOPIC},
        "format": ref("format", "How to read values; json by default."),
        "key_format": ref("format", "How to read keys; string by default."),
        "when": when,
        "each": computed("A list in the record: the events are made for each item."),
        "events": items(event, "The events, if there are several.", minItems=1, maxItems=bindings_document.EVENTS_MAX),
        "tombstone": {
            "description": "What a record without a value means; dead-letter by default.",
            "anyOf": [one_of(Tombstone), tombstone],
        },
    }
    assert known.keys() == set(bindings_document.BINDING_FIELDS)
    # Each event of the list has what it needs itself, or from the binding.
    needs = [
        {"anyOf": [has("event"), of_each(has("event"))]},
        {"anyOf": [HAS_WAY, of_each(HAS_WAY)]},
        {"if": has("start", "events"), "then": of_each({"not": has("correlate")})},
        {"if": has("correlate", "events"), "then": of_each({"anyOf": [HAS_WAY, {"not": has("start")}]})},
        ONE_WAY,
    ]
    return mapping(known | _of_event(), "", ("name", "topic"), allOf=needs)


BINDINGS: Final[dict[str, Schema]] = {"format": _format(), "start": _start()}


def bindings() -> Schema:
    """Return the schema of a document of bindings."""
    known = {
        "name": {"description": "The name of the consumer group.", **name_of(OUTER)},
        "bindings": items(_binding(), "What records become.", minItems=1, maxItems=bindings_document.BINDINGS_MAX),
    }
    return mapping(known, "", ("name", "bindings"))


def sink() -> Schema:
    """Return the schema of a sink."""
    name: Schema = {"type": "string", "minLength": 1}
    event = one_of((*GROUPS, *EVENTS))
    known = {
        "name": {"description": "The name of the group of the sink's processes.", **name_of(OUTER)},
        "topic": {"description": "Your topic, by its name on the cluster.", **TOPIC},
        "wf_specs": items(name, "The WfSpecs whose WfRuns are told of; without it, all.", minItems=1),
        "events": items(event, "Events, or groups of them; [status, variables] by default.", minItems=1),
        "variables": items(name, "The Variables that are told of; without it, all.", minItems=1),
        "when": computed("Only events for which this is true are written."),
        "value": template("The value of the records; without it, all that is known of the event."),
    }
    assert known.keys() == set(SINK_FIELDS)
    return mapping(known, "", ("name", "topic"))


if __name__ == "__main__":
    sys.exit(main())
