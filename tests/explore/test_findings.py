"""Each kind of finding: a WfSpec that has it and one that has not. Every finding's document shows what it claims."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from halter.explore.documents import document_of
from halter.explore.findings import Finding, Kind
from halter.explore.inputs import Bounds
from halter.explore.search import Report
from halter.explore.subject import Subject
from halter.scenarios.files import run_file
from halter.scenarios.writing import text_of
from processors.core.records.values import VariableType
from tests.support.explored import search_of, subject_in, wf_spec
from tests.support.small_specs import NAMES
from tests.support.small_specs import document_of as small


@dataclass(frozen=True)
class Case:
    """A WfSpec that has a finding, and one that differs in a word or two and has not."""

    kind: Kind
    where: tuple[str, ...]
    has: str
    has_not: str
    definitions: dict[str, Any] = field(default_factory=dict)
    claims: str = ""
    events: int = 1

    def specs(self) -> tuple[str, str]:
        return self.has, self.has.replace(*self.has_not.split(" => "))


CASES = {
    "a condition that nobody makes true leaves a thread stuck": Case(
        Kind.STUCK,
        ("main", "wait"),
        """
        main:
          variables: {ready: {type: BOOL, default: false}}
          interrupts: [{event: i, handler: h}]
          nodes:
            start: {kind: ENTRYPOINT, next: wait}
            wait: {kind: WAIT_FOR_CONDITION, condition: {var: ready}, next: end}
            end: {kind: EXIT}
        h:
          nodes:
            start: {kind: ENTRYPOINT, next: {to: end, set: [{var: ready, op: ASSIGN, value: false}]}}
            end: {kind: EXIT}
        """,
        "ASSIGN, value: false => ASSIGN, value: true",
        {"external_events": {"i": {}}},
    ),
    "a failure that nothing catches ends the WfRun": Case(
        Kind.FAILURE,
        ("no-money", "main", "pay"),
        """
        main:
          nodes:
            start: {kind: ENTRYPOINT, next: pay}
            pay: {kind: TASK, task: t, next: end, on_failure: [{catch: no-money, handler: h}]}
            end: {kind: EXIT}
        h:
          nodes:
            start: {kind: ENTRYPOINT, next: pay}
            pay: {kind: NOP, next: end}
            end: {kind: EXIT}
        other:
          nodes:
            start: {kind: ENTRYPOINT, next: pay}
            pay: {kind: TASK, task: t, next: end, on_failure: [{catch: no-money, handler: h}]}
            end: {kind: EXIT}
        """.replace("next: end, on_failure: [{catch: no-money, handler: h}]", "next: end", 1),
        "task: t, next: end} => task: t, next: end, on_failure: [{handler: h}]}",
        {"tasks": {"t": {}}},
    ),
    "an interrupt is never handled that nothing can start": Case(
        Kind.NOT_HANDLED,
        ("main", "i"),
        """
        main:
          interrupts: [{event: i, handler: h, preemptive: false}]
          nodes:
            start: {kind: ENTRYPOINT, next: end}
            end: {kind: EXIT}
        h:
          nodes:
            start: {kind: ENTRYPOINT, next: end}
            end: {kind: EXIT}
        """,
        "preemptive: false => preemptive: true",
        {"external_events": {"i": {}}},
    ),
    "a node is never reached behind a condition": Case(
        Kind.NOT_REACHED,
        ("main", "more"),
        """
        main:
          variables: {n: {type: INT}}
          nodes:
            start: {kind: ENTRYPOINT, next: {to: look, set: [{var: n, op: ASSIGN, value: 3}]}}
            look: {kind: NOP, next: [{to: more, when: {gt: [{var: n}, 5]}}, end]}
            more: {kind: NOP, next: end}
            end: {kind: EXIT}
        """,
        "value: 3 => value: 7",
    ),
    "a condition is never true": Case(
        Kind.NOT_TRUE,
        ("main", "start", "more"),
        """
        main:
          variables: {n: {type: INT, default: 3}}
          nodes:
            start: {kind: ENTRYPOINT, next: [{to: more, when: {lt: [{var: n}, {var: n}]}}, end]}
            more: {kind: NOP, next: end}
            end: {kind: EXIT}
        """,
        "lt: [{var: n}, {var: n}] => le: [{var: n}, {var: n}]",
    ),
    "a condition is never true, though another edge leads to the same node": Case(
        Kind.NOT_TRUE,
        ("main", "start", "end", "n"),
        """
        main:
          variables: {n: {type: INT, default: 3}}
          nodes:
            start:
              kind: ENTRYPOINT
              next: [{to: end, when: {lt: [{var: n}, {var: n}]}, set: [{var: n, op: ADD, value: 1}]}, end]
            end: {kind: EXIT}
        """,
        "lt: [{var: n}, {var: n}] => le: [{var: n}, {var: n}]",
    ),
    "a ThreadSpec is never started": Case(
        Kind.NOT_STARTED,
        ("h",),
        """
        main:
          nodes:
            start: {kind: ENTRYPOINT, next: work}
            work: {kind: TASK, task: t, next: end, on_failure: [{catch: VAR_ERROR, handler: h}]}
            end: {kind: EXIT}
        h:
          nodes:
            start: {kind: ENTRYPOINT, next: end}
            end: {kind: EXIT}
        """,
        "catch: VAR_ERROR => catch: TASK_ERROR",
        {"tasks": {"t": {}}},
    ),
    "a Variable is read before anything wrote it": Case(
        Kind.UNWRITTEN,
        ("main", "say", "name"),
        """
        main:
          variables: {name: {type: STR}}
          interrupts: [{event: i, handler: h}]
          nodes:
            start: {kind: ENTRYPOINT, next: wait}
            wait: {kind: EXTERNAL_EVENT, event: go, next: say}
            say: {kind: TASK, task: t, input: {name: {var: name}}, next: end}
            end: {kind: EXIT}
        h:
          variables: {INPUT: {type: STR}}
          nodes:
            start: {kind: ENTRYPOINT, next: {to: end, set: [{var: name, op: ASSIGN, value: {var: INPUT}}]}}
            end: {kind: EXIT}
        """,
        "next: wait} => next: {to: wait, set: [{var: name, op: ASSIGN, value: a}]}}",
        {"external_events": {"i": {"type": "STR"}, "go": {}}, "tasks": {"t": {}}},
    ),
    "an accepted interrupt is dropped": Case(
        Kind.DROPPED,
        ("i",),
        """
        main:
          interrupts: [{event: i, handler: h}, {event: j, handler: h}]
          nodes:
            start: {kind: ENTRYPOINT, next: work}
            work: {kind: TASK, task: t, next: end}
            end: {kind: EXIT}
        h:
          nodes:
            start: {kind: ENTRYPOINT, next: end}
            end: {kind: EXIT, fail: {name: gone}}
        """,
        ", fail: {name: gone} => ",
        {"external_events": {"i": {}, "j": {}}, "tasks": {"t": {}}},
    ),
    "an ExternalEvent stays unclaimed": Case(
        Kind.UNCLAIMED,
        ("go",),
        """
        main:
          nodes:
            start: {kind: ENTRYPOINT, next: [{to: wait, when: {var: waits}}, work]}
            wait: {kind: EXTERNAL_EVENT, event: go, next: end}
            work: {kind: TASK, task: t, next: end}
            end: {kind: EXIT}
          variables: {waits: {type: BOOL, default: false}}
        """,
        "default: false => default: true",
        {"external_events": {"go": {}}, "tasks": {"t": {}}},
    ),
    "what must never be so is": Case(
        Kind.CLAIM,
        ("never", "twice"),
        """
        main:
          variables: {n: {type: INT, default: 0}}
          interrupts: [{event: i, handler: h}]
          nodes:
            start: {kind: ENTRYPOINT, next: wait}
            wait: {kind: EXTERNAL_EVENT, event: go, next: end}
            end: {kind: EXIT}
        h:
          nodes:
            start: {kind: ENTRYPOINT, next: {to: end, set: [{var: n, op: ADD, value: 1}]}}
            end: {kind: EXIT}
        """,
        "op: ADD => op: ASSIGN",
        {"external_events": {"i": {}, "go": {}}},
        "never: {twice: {eq: [{var: n}, 2]}}",
        events=2,
    ),
    "what must always be so is not": Case(
        Kind.CLAIM,
        ("always", "positive"),
        """
        main:
          variables: {n: {type: INT, default: 1}}
          nodes:
            start: {kind: ENTRYPOINT, next: nap}
            nap: {kind: SLEEP, seconds: 5, next: {to: end, set: [{var: n, op: SUBTRACT, value: 2}]}}
            end: {kind: EXIT}
        """,
        "op: SUBTRACT => op: ADD",
        {},
        "always: {positive: {gt: [{var: n}, 0]}}",
    ),
    "what must be so before the end is not": Case(
        Kind.CLAIM,
        ("eventually", "paid"),
        """
        main:
          variables: {receipt: {type: STR}}
          nodes:
            start: {kind: ENTRYPOINT, next: pay}
            pay: {kind: TASK, task: t, next: {to: end, set: [{var: receipt, op: ASSIGN, value: {output: pay}}]}}
            end: {kind: EXIT}
        """,
        "value: {output: pay} => value: paid",
        {"tasks": {"t": {"output": "STR"}}},
        "eventually: {paid: {or: [{ne: [{var: receipt}, null]}, {ne: [{var: WF_RUN, path: $.failure}, null]}]}}",
    ),
}


def _report(case: Case, spec: str) -> tuple[Subject, Report]:
    subject = wf_spec(spec, **case.definitions)
    report = search_of(subject, Bounds(case.events, before=1), case.claims).explore(5_000)
    assert report.covered.cut_by is None
    return subject, report


def _of(report: Report, case: Case) -> Finding | None:
    return next((it for it in report.findings if (it.kind, it.where) == (case.kind, case.where)), None)


def _confirm(findings: list[Finding], subject: Subject, folder: Path) -> int:
    """Run the document of each finding; return how many there were."""
    confirmed = 0
    for number, finding in enumerate(findings):
        document = document_of(finding, subject.head())
        assert (document is None) is (finding.path is None)
        if document is not None:
            path = folder / f"{number}.yaml"
            path.write_text(text_of(document), encoding="utf-8")
            verdict = run_file(path)
            assert verdict.ok, (finding, verdict.problems, verdict.log)
            confirmed += 1
    return confirmed


@pytest.mark.parametrize("name", CASES)
def test_it_is_found_that(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    has, _ = case.specs()
    subject, report = _report(case, has)
    found = _of(report, case)
    assert found is not None, report.findings
    if found.kind in {Kind.NOT_STARTED, Kind.NOT_HANDLED}:
        assert found.sentence.endswith("within the bounds"), "a larger search may find it"
    _confirm(report.findings, subject, tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_it_is_not_found_without_reason_that(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    has, has_not = case.specs()
    assert has != has_not
    subject, report = _report(case, has_not)
    assert _of(report, case) is None, report.findings
    _confirm(report.findings, subject, tmp_path)


def test_every_kind_has_a_case() -> None:
    assert {case.kind for case in CASES.values()} == set(Kind)


@pytest.mark.parametrize("name", NAMES)
def test_every_document_shows_what_it_claims(name: str, tmp_path: Path) -> None:
    subject = subject_in(small(name))
    report = search_of(subject, Bounds(1, 1, 1)).explore(200)
    assert _confirm(report.findings, subject, tmp_path) or not any(it.path for it in report.findings)
    assert not [it for it in report.findings if it.kind is Kind.CLAIM]


TYPED = """
main:
  variables: {given: {type: TYPE, required: true}, kept: {type: TYPE}}
  interrupts: [{event: i, handler: h}]
  nodes:
    start: {kind: ENTRYPOINT, next: wait}
    wait: {kind: EXTERNAL_EVENT, event: go, next: {to: work, set: [{var: kept, op: ASSIGN, value: {output: wait}}]}}
    work:
      kind: TASK
      task: t
      input: {given: {var: given}, kept: {var: kept}}
      next: {to: end, set: [{var: kept, op: ASSIGN, value: {output: work}}]}
    end: {kind: EXIT, return: {var: kept}}
h:
  variables: {INPUT: {type: TYPE}}
  nodes:
    start: {kind: ENTRYPOINT, next: {to: end, set: [{var: kept, op: ASSIGN, value: {var: INPUT}}]}}
    end: {kind: EXIT}
"""


@pytest.mark.parametrize("declared", list(VariableType))
def test_documents_have_values_of_every_type(declared: VariableType, tmp_path: Path) -> None:
    at_the_end = "{and: [{ne: [{var: kept}, null]}, {eq: [{var: WF_RUN, path: $.status}, COMPLETED]}]}"
    claims = f"never: {{kept at the end: {at_the_end}}}"
    event, task = {"type": declared.value}, {"output": declared.value, "input": {"given": declared.value}}
    task["input"]["kept"] = declared.value
    subject = wf_spec(TYPED.replace("TYPE", declared), external_events={"i": event, "go": event}, tasks={"t": task})
    report = search_of(subject, Bounds(), claims).explore(5_000)
    assert Kind.CLAIM in {finding.kind for finding in report.findings}
    _confirm(report.findings, subject, tmp_path)


COUNTS = """
main:
  variables: {n: {type: INT, default: 0}}
  interrupts: [{event: i, handler: h}]
  nodes:
    start: {kind: ENTRYPOINT, next: wait}
    wait: {kind: WAIT_FOR_CONDITION, condition: {ge: [{var: n}, 9]}, next: end}
    end: {kind: EXIT}
h:
  variables: {INPUT: {type: INT}}
  nodes:
    start: {kind: ENTRYPOINT, next: {to: end, set: [{var: n, op: ADD, value: {var: INPUT}}]}}
    end: {kind: EXIT}
"""


def test_a_thread_that_needs_more_events_than_the_bounds_allow_is_not_stuck() -> None:
    # Null fails the handler, and with it the WfRun: the walk that counts to nine must not choose it.
    subject = wf_spec(COUNTS, external_events={"i": {"type": "INT"}})
    search = search_of(subject, Bounds(), "values: {variables: {n: [0]}}")
    kinds = {finding.kind for finding in search.explore(1_000).findings}
    assert Kind.FAILURE in kinds
    assert Kind.STUCK not in kinds


ENDLESS = """
main:
  variables: {zero: {type: INT, default: 0}}
  nodes:
    start: {kind: ENTRYPOINT, next: work}
    work: {kind: TASK, task: t, timeout_s: {var: zero}, next: again, on_failure: [{catch: TIMEOUT, handler: h}]}
    again: {kind: NOP, next: work}
    end: {kind: EXIT}
h:
  nodes:
    start: {kind: ENTRYPOINT, next: end}
    end: {kind: EXIT}
"""


def test_timers_that_fire_without_end_are_told(tmp_path: Path) -> None:
    subject = wf_spec(ENDLESS, tasks={"t": {}})
    report = search_of(subject, Bounds()).explore(10)
    assert ("endless-timers",) in {finding.where for finding in report.findings}
    _confirm(report.findings, subject, tmp_path)
