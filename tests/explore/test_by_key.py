"""With --by-key, events that have a correlation key come only while the WfRun has one, and documents say so."""

from pathlib import Path

import pytest

from halter.explore.documents import document_of
from halter.explore.findings import Kind
from halter.explore.inputs import Bounds
from halter.scenarios.files import run_file
from halter.scenarios.writing import text_of
from tests.support.explored import search_of, subject_in

ORDER = {
    "external_events": {"paid": {}, "closed": {}},
    "tasks": {"look-up": {"output": "STR"}},
    "wf_specs": [
        {
            "name": "order",
            "entrypoint": "main",
            "correlated_events": {"paid": {"var": "order"}},
            "threads": {
                "main": {
                    "variables": {"order": {"type": "STR"}, "settled": {"type": "BOOL", "default": False}},
                    "interrupts": [{"event": "paid", "handler": "on-paid"}],
                    "nodes": {
                        "start": {"kind": "ENTRYPOINT", "next": "look-up"},
                        "look-up": {
                            "kind": "TASK",
                            "task": "look-up",
                            "next": {"to": "wait", "set": ['order = output("look-up")']},
                        },
                        "wait": {"kind": "EXTERNAL_EVENT", "event": "closed", "next": "done"},
                        "done": {"kind": "EXIT"},
                    },
                },
                "on-paid": {
                    "nodes": {
                        "start": {"kind": "ENTRYPOINT", "next": {"to": "done", "set": ["settled = true"]}},
                        "done": {"kind": "EXIT"},
                    }
                },
            },
        }
    ],
}
CLAIMS = """
never:
  paid before its number is known: {expr: settled and order == null}
  paid at all: {expr: settled}
"""


@pytest.mark.parametrize("by_key", [False, True])
def test_an_event_by_key_comes_to_a_wf_run_that_has_the_key_alone(by_key: bool, tmp_path: Path) -> None:
    subject = subject_in(ORDER)
    report = search_of(subject, Bounds(by_key=by_key), CLAIMS).explore(10_000)
    broken = {it.where[1]: it for it in report.findings if it.kind is Kind.CLAIM}
    assert set(broken) == {"paid at all"} if by_key else {"paid before its number is known", "paid at all"}
    document = document_of(broken["paid at all"], ORDER)
    assert document is not None
    assert any("correlate" in step for step in document["steps"]) == by_key
    (tmp_path / "found.yaml").write_text(text_of(document))
    assert run_file(tmp_path / "found.yaml").ok
