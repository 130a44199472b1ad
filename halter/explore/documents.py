"""Findings as scenario documents: the definitions, the inputs of the shortest path, and what is so at its end."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from halter.explore.findings import Finding
from halter.explore.inputs import Input
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TimerFired,
)
from processors.core.records.values import Timestamp, Value, iso_of


def document_of(finding: Finding, head: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the scenario that shows a finding; None if it has no path."""
    if finding.path is None:
        return None
    return {"name": finding.sentence, **head, "steps": [*steps_of(finding.path), *finding.shows]}


def steps_of(path: Iterable[Input]) -> Iterator[dict[str, Any]]:
    """Yield a path as the steps of a scenario."""
    for taken in path:
        yield {"clock": f"+{taken.wait_ms}ms"} if taken.command is None else step_of(taken.command)


def step_of(command: Command) -> dict[str, Any]:
    """Return a command as the step of a scenario."""
    wf = {"wf": command.wf_run_id}
    match command:
        case RunWf():
            run = {"id": command.wf_run_id, "spec": command.wf_spec_name}
            variables = {name: written(value) for name, value in command.variables.items()}
            return {"run": run | ({"variables": variables} if variables else {})}
        case ExternalEvent():
            event = wf | {"name": command.external_event_def, "id": command.external_event_id}
            content = {} if command.content is None else {"content": written(command.content)}
            return {"event": event | content | ({} if command.thread is None else {"thread": command.thread})}
        case ReportTaskRun():
            report = wf | {"thread": command.thread, "status": command.status.value, "attempt": command.attempt}
            if command.output is not None:
                report |= {"output": written(command.output)}
            return {"report": report | ({} if command.failure_name is None else {"name": command.failure_name})}
        case StopWfRun():
            return {"stop": wf | {"thread": command.thread}}
        case ResumeWfRun():
            return {"resume": wf | {"thread": command.thread}}
        case RescueThreadRun():
            skipped = {"skip_current_node": True} if command.skip_current_node else {}
            return {"rescue": wf | {"thread": command.thread} | skipped}
        case DeleteWfRun():
            return {"delete": wf}
        case TimerFired():
            raise AssertionError("time passes by a step of its own")


def written(value: Value) -> Any:
    """Return a value as a scenario document has it."""
    match value:
        case Timestamp():
            return iso_of(value)
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
    text: str = yaml.safe_dump({key: value}, sort_keys=False, width=110, default_flow_style=flow, allow_unicode=True)
    return text.rstrip()


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=100_000, allow_unicode=True)
    return text.strip()[1:-1]
