"""Writes scenario documents: definitions, commands and values in the words of the document, and the document as YAML.

The other way round from `halter.files.scenario_document`, which reads them.
"""

import base64
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
    TimerFired,
)
from processors.core.records.values import Timestamp, Value, VariableType, iso_of
from processors.core.rules.context import Limits

YEAR_1_MS = -62_135_596_800_000
YEAR_10000_MS = 253_402_300_800_000
_TEXT_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9.].*", re.DOTALL)


class _Dumper(yaml.SafeDumper):
    """Writes YAML 1.1. Texts that only YAML 1.2 takes for numbers, such as `1e3`, get quotes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write a value again in place of an alias to it."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _TEXT_LIKE_A_NUMBER.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def head_of(commands: Iterable[DefinitionCommand], limits: Limits | None = None) -> dict[str, Any]:
    """Return definitions, and limits if they are not the usual ones, as the head of a scenario document has them."""
    head: dict[str, Any] = {"external_events": {}, "workflow_events": {}, "tasks": {}, "wf_specs": []}
    for command in commands:
        match command:
            case PutExternalEventDef(name=name, content_type=content_type):
                head["external_events"][name] = _without_none(type=content_type)
            case PutWorkflowEventDef(name=name, content_type=content_type):
                head["workflow_events"][name] = _without_none(type=content_type)
            case PutTaskDef(name=name):
                head["tasks"][name] = _without_none(
                    queue=command.queue,
                    input=None if command.input is None else _inputs(command.input, command.optional),
                    output=command.output,
                )
            case PutWfSpec(document=document):
                head["wf_specs"].append(json.loads(document))
    usual, given = Limits(), limits or Limits()
    head["limits"] = {
        name: value
        for name in Limits.__dataclass_fields__
        if not name.startswith("bytes_") and (value := getattr(given, name)) != getattr(usual, name)
    }
    return {name: value for name, value in head.items() if value}


def _inputs(types: Mapping[str, VariableType], optional: Collection[str]) -> dict[str, Any]:
    return {name: {"type": str(it), "optional": True} if name in optional else str(it) for name, it in types.items()}


def _without_none(**entries: Any) -> dict[str, Any]:
    given = {name: value for name, value in entries.items() if value is not None}
    return {name: value if isinstance(value, dict) else str(value) for name, value in given.items()}


def step_of(command: Command) -> dict[str, Any]:
    """Return a command as the step of a scenario."""
    wf = {"wf": command.wf_run_id}
    match command:
        case RunWf():
            run = {"id": command.wf_run_id, "spec": command.wf_spec_name}
            return {"run": run | _variables(command)}
        case RunWfAndPost():
            start = {"spec": command.wf_spec_name} | _variables(command)
            return {"event": step_of(command.event())["event"] | {"start": start}}
        case ForkWfRun():
            # The document has the other WfRun, in the state that the command carries.
            fork = {"wf": command.snapshot.wf_run_id, "as": command.wf_run_id}
            numbers = [str(it) for it in (command.wf_spec_major, command.wf_spec_revision) if it is not None]
            return {"fork": fork | ({"version": ".".join(numbers)} if numbers else {})}
        case ExternalEvent():
            event = wf | {"name": command.external_event_def, "id": command.external_event_id}
            content = {} if command.content is None else {"content": written(command.content)}
            return {"event": event | content | ({} if command.thread is None else {"thread": command.thread})}
        case StartTaskRun():
            return {"start_task": wf | {"thread": command.thread, "attempt": command.attempt}}
        case ReportTaskProgress():
            content = {} if command.content is None else {"content": written(command.content)}
            return {"report_progress": wf | {"thread": command.thread, "attempt": command.attempt} | content}
        case ReportTaskRun():
            report = wf | {"thread": command.thread, "status": command.status.value, "attempt": command.attempt}
            said = {
                "output": written(command.output),
                "name": command.failure_name,
                "message": command.message,
                "content": written(command.content),
            }
            return {"report": report | {name: value for name, value in said.items() if value is not None}}
        case StopWfRun():
            return {"stop": wf | {"thread": command.thread}}
        case ResumeWfRun():
            return {"resume": wf | {"thread": command.thread}}
        case RescueThreadRun():
            skipped = {"skip_current_node": True} if command.skip_current_node else {}
            return {"rescue": wf | {"thread": command.thread} | skipped}
        case MigrateWfRun():
            numbers = [str(it) for it in (command.wf_spec_major, command.wf_spec_revision) if it is not None]
            return {"migrate": wf | {"version": ".".join(numbers)}}
        case DeleteWfRun():
            return {"delete": wf}
        case TimerFired():
            raise AssertionError("time passes by a step of its own")


def _variables(command: RunWf | RunWfAndPost) -> dict[str, Any]:
    variables = {name: written(value) for name, value in command.variables.items()}
    return {"variables": variables} if variables else {}


def written(value: Value) -> Any:
    """Return a value as a scenario document has it."""
    match value:
        case Timestamp() if YEAR_1_MS <= value.epoch_ms < YEAR_10000_MS:
            return iso_of(value)
        case Timestamp():
            return value.epoch_ms  # no text of ISO 8601 says it
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def text_of(document: Mapping[str, Any]) -> str:
    """Return a scenario document as YAML, with each step on one line."""
    return "\n".join(_yaml(key, value) for key, value in document.items()) + "\n"


def _yaml(key: str, value: Any) -> str:
    if key == "steps":
        return "steps:\n" + "\n".join(f"  - {_flow(step)}" for step in value)
    flow = False if isinstance(value, str) else None
    text: str = yaml.dump(
        {key: value}, Dumper=_Dumper, sort_keys=False, width=110, default_flow_style=flow, allow_unicode=True
    )
    return text.rstrip()


def _flow(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=100_000, allow_unicode=True
    )
    return text.strip()[1:-1]
