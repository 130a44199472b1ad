"""Findings as scenario documents: the definitions, the inputs of the shortest path, and what is so at its end."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from halter.explore.findings import Finding
from halter.explore.inputs import Input
from halter.scenarios.writing import step_of


def document_of(finding: Finding, head: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the scenario that shows a finding; None if it has no path."""
    if finding.path is None:
        return None
    return {"name": finding.sentence, **head, "steps": [*steps_of(finding.path), *finding.shows]}


def steps_of(path: Iterable[Input]) -> Iterator[dict[str, Any]]:
    """Yield a path as the steps of a scenario."""
    for taken in path:
        if taken.command is None:
            yield {"clock": f"+{taken.wait_ms}ms"}
        elif taken.key is not None:
            event = step_of(taken.command)["event"]
            by = {"name": event["name"], "key": taken.key, "id": event["id"]}
            yield {"correlate": by | ({"content": event["content"]} if "content" in event else {})}
        else:
            yield step_of(taken.command)
