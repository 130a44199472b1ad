"""Everything that is wrong with a scenario document is reported before anything runs, each problem with its place."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.files import scenario_document as document
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import parse_yaml
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import Verdict, run
from processors.core.records.errors import HalterError
from processors.core.rules.context import Context
from processors.core.wf_spec.document_problems import path_text

STEP: dict[str, Any] = {"run": {"id": "w", "spec": "s"}}


class NotThere(HalterError):
    """A file that a test names is not there."""


def no_files(name: str) -> object:
    raise NotThere(f"{name} is not there")


def problems_of(*steps: Any, **head: Any) -> list[tuple[str, str]]:
    """Return code and place of each problem, with a valid head."""
    scenario, problems = read_scenario({"name": "s", "steps": list(steps), **head}, no_files)
    assert (scenario is None) == bool(problems)
    return [(problem.code, path_text(problem.path)) for problem in problems]


def content(value: Any) -> dict[str, Any]:
    return {"event": {"wf": "w", "name": "e", "id": "1", "content": value}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def expecting(**fields: Any) -> dict[str, Any]:
    return {"expect": {"wf": "w", **fields}}


def of_thread(**fields: Any) -> dict[str, Any]:
    return expecting(threads={0: fields})


WRONG: list[tuple[str, Any, str]] = [
    ("FIELD_TYPE", 5, "steps[0]"),
    ("STEP_FORM", {}, "steps[0]"),
    ("STEP_FORM", {**STEP, "crash": {}}, "steps[0]"),
    ("FIELD_VALUE", {"runn": {}}, "steps[0]"),
    ("FIELD_MISSING", {"run": {"id": "w"}}, "steps[0].run"),
    ("FIELD_UNKNOWN", {"run": {"id": "w", "spec": "s", "vars": {}}}, "steps[0].run.vars"),
    ("FIELD_TYPE", {"run": {"id": 5, "spec": "s"}}, "steps[0].run.id"),
    ("FIELD_TYPE", {"run": {"id": "w", "spec": "s", "version": 1.1}}, "steps[0].run.version"),
    ("FIELD_TYPE", {"run": {"id": "w", "spec": "s", "version": "one"}}, "steps[0].run.version"),
    ("FIELD_TYPE", {"run": {"id": "w", "spec": "s", "variables": {"n": 2**63}}}, "steps[0].run.variables.n"),
    ("FIELD_TYPE", content(float("nan")), "steps[0].event.content"),
    ("FIELD_TYPE", content({"a": [float("inf")]}), "steps[0].event.content.a[0]"),
    ("FIELD_TYPE", content({1: "a", "1": "b"}), "steps[0].event.content"),
    ("LIMIT", content(nested(101)), "steps[0].event.content"),
    ("LIMIT", content("x" * 300_000), "steps[0].event.content"),
    ("FIELD_TYPE", {"event": {"wf": "w", "name": "e", "id": "1", "thread": -1}}, "steps[0].event.thread"),
    ("FIELD_MISSING", {"report": {"wf": "w", "thread": 0}}, "steps[0].report"),
    ("FIELD_VALUE", {"report": {"wf": "w", "thread": 0, "status": None}}, "steps[0].report.status"),
    ("FIELD_VALUE", {"report": {"wf": "w", "thread": 0, "status": "TIMEOUT"}}, "steps[0].report.status"),
    ("FIELD_TYPE", {"rescue": {"wf": "w", "skip_current_node": "no"}}, "steps[0].rescue.skip_current_node"),
    ("FIELD_TYPE", {"clock": "5s"}, "steps[0].clock"),
    ("FIELD_TYPE", {"clock": 5}, "steps[0].clock"),
    ("LIMIT", {"clock": "+40000d"}, "steps[0].clock"),
    ("FIELD_UNKNOWN", {"crash": {"hard": True}}, "steps[0].crash.hard"),
    ("FIELD_TYPE", {"repeat": {"times": "often", "steps": []}}, "steps[0].repeat.times"),
    ("FIELD_TYPE", {"repeat": {"times": 0, "steps": ["not looked at"]}}, "steps[0].repeat.times"),
    ("FIELD_TYPE", {"expect": {"wf": "w", "threads": None}}, "steps[0].expect.threads"),
    ("FIELD_VALUE", expecting(status="DONE"), "steps[0].expect.status"),
    ("STEP_FORM", expecting(status="ABSENT", unclaimed=[]), "steps[0].expect"),
    ("FIELD_TYPE", expecting(threads={"first": {}}), "steps[0].expect.threads"),
    ("FIELD_VALUE", of_thread(status="RUNING"), "steps[0].expect.threads.0.status"),
    ("FIELD_VALUE", of_thread(type="HANDLER"), "steps[0].expect.threads.0.type"),
    ("FIELD_TYPE", of_thread(halt_reasons=["STOPPED"]), "steps[0].expect.threads.0.halt_reasons[0]"),
    ("FIELD_UNKNOWN", of_thread(failure={"nme": "x"}), "steps[0].expect.threads.0.failure.nme"),
    ("FIELD_UNKNOWN", expecting(tasks_out=[{"attmpt": 1}]), "steps[0].expect.tasks_out[0].attmpt"),
    ("FIELD_TYPE", expecting(unclaimed="e1"), "steps[0].expect.unclaimed"),
    ("FIELD_VALUE", {"expect_events": ["Spawn"]}, "steps[0].expect_events[0]"),
    ("FIELD_UNKNOWN", {"expect_events": [{"Resume": {"thred": 0}}]}, "steps[0].expect_events[0].Resume.thred"),
    ("FIELD_MISSING", {"expect_events": {}}, "steps[0].expect_events"),
    ("FIELD_VALUE", {"expect_rejected": {"code": "EXISTS"}}, "steps[0].expect_rejected.code"),
    ("FIELD_VALUE", {"expect_definition_rejected": {"code": "CSAT"}}, "steps[0].expect_definition_rejected.code"),
]


@pytest.mark.parametrize(("code", "step", "place"), WRONG, ids=lambda it: it if isinstance(it, str) else "")
def test_a_step_that_says_what_cannot_be_is_refused_at_its_place(code: str, step: Any, place: str) -> None:
    assert (code, place) in problems_of(step)


@pytest.mark.parametrize(
    ("head", "place"),
    [
        ({"external_events": {"e": {"type": "INTT"}}}, "external_events.e.type"),
        ({"external_events": {"e": {"type": None}}}, "external_events.e.type"),
        ({"tasks": {"t": {"input": {"a": "NUMBER"}}}}, "tasks.t.input.a"),
        ({"start": "yesterday"}, "start"),
        ({"start": "1969-12-31T23:59:59Z"}, "start"),
        ({"wf_specs": ["gone.yaml"]}, "wf_specs[0]"),
        ({"limits": {"threads": 5}}, "limits.threads"),
    ],
)
def test_a_head_that_says_what_cannot_be_is_refused_at_its_place(head: dict[str, Any], place: str) -> None:
    assert place in [found for _, found in problems_of(STEP, **head)]


def test_all_problems_are_said_also_those_of_a_file_that_is_not_there() -> None:
    found = problems_of({"runn": {}}, {"clock": "now"}, wf_specs=["gone.yaml", "lost.yaml"], strat="2026-01-01")
    places = {place for _, place in found}
    assert places == {"strat", "wf_specs[0]", "wf_specs[1]", "steps[0]", "steps[1].clock"}


def test_expecting_a_refusal_of_definitions_is_in_place_of_all_other_steps() -> None:
    rejected = {"expect_definition_rejected": {}}
    assert problems_of(rejected) == []
    assert problems_of(STEP, rejected) == [("STEP_FORM", "steps[1].expect_definition_rejected")]
    assert problems_of(rejected, rejected) == [("STEP_FORM", "steps[1].expect_definition_rejected")]


def test_repeats_within_repeats_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # The real bound is reached in the same way, after seconds.
    monkeypatch.setattr(document, "STEPS_MAX", 5_000)
    step: dict[str, Any] = {"clock": "+1s"}
    for _ in range(3):
        step = {"repeat": {"times": 1000, "steps": [step]}}
    assert {code for code, _ in problems_of(step)} == {"LIMIT"}
    nothing: dict[str, Any] = {"repeat": {"times": 1000, "steps": []}}
    for _ in range(2):
        nothing = {"repeat": {"times": 1000, "steps": [nothing]}}
    assert {code for code, _ in problems_of(nothing)} == {"LIMIT"}


def test_keys_of_payloads_are_text_as_in_json() -> None:
    scenario, _ = read_scenario({"name": "s", "steps": [content({1: [{2: "x"}]})]}, no_files)
    assert scenario is not None
    does: Any = scenario.steps[0].does
    assert does.command.content == {"1": [{"2": "x"}]}


@given(st.text(min_size=1, max_size=256))
def test_a_halt_reason_may_name_an_id_with_any_character(event_id: str) -> None:
    assert problems_of(of_thread(halt_reasons=[f"PENDING_INTERRUPT({event_id})"])) == []


SCENARIOS = Path(__file__).parents[1] / "scenarios"
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3) | st.text("ab.{n}", min_size=50, max_size=70),
    st.sampled_from(["absent", "ABSENT", "RUNNING", "STR", "+5s", "1.2", "gone.yaml", "Halt", "PENDING_INTERRUPT(e)"]),
    st.sampled_from([[], {}, [1], {1: 2, "1": 3}, {"crash": None}]),
    st.just({"repeat": {"times": 2, "steps": [{"clock": "+{n}s"}]}}),
)


@cache
def whole_scenarios() -> list[Any]:
    """Return the documents of some scenarios, of all kinds of steps and expectations."""
    return [parse_yaml(path.read_text(), path.name).data for path in sorted(SCENARIOS.glob("[A-H]*.yaml"))]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every part of a document."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in parts:
        yield from places(part, (*path, step))


def changed(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    """Return a document with another value at a place."""
    if not path:
        return part
    first, *rest = path
    copy = value.copy()
    copy[first] = changed(copy[first], tuple(rest), part)
    return copy


@given(st.data())
def test_a_scenario_with_any_part_changed_is_read_or_each_of_its_problems_has_a_place(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(whole_scenarios()))
    document = changed(document, data.draw(st.sampled_from([*places(document)])), data.draw(ODD))
    scenario, problems = read_scenario(document, no_files)
    assert (scenario is None) == bool(problems)
    there = {tuple(map(str, path)) for path in places(document)}
    for problem in problems:
        assert tuple(map(str, problem.path)) in there, problem


def verdict_of(*steps: Any) -> Verdict:
    """Return the verdict on steps in which the WfRun `gone` does not exist."""
    scenario, problems = read_scenario({"name": "s", "external_events": {"e": {}}, "steps": list(steps)}, no_files)
    assert scenario is not None, problems
    definitions, _ = register(scenario.definitions)
    return run(scenario, MemoryEngine(Context(definitions), scenario.start_ms), definitions)


REFUSED: dict[str, Any] = {"stop": {"wf": "gone"}}
ACCEPTED: dict[str, Any] = {"event": {"wf": "w", "name": "e", "id": "1"}}
NO_SUCH: dict[str, Any] = {"expect": {"wf": "gone", "status": "ABSENT"}}
WRONG_EXPECTATION: dict[str, Any] = {"expect": {"wf": "gone", "status": "RUNNING"}}


@pytest.mark.parametrize(
    "following",
    [
        [],
        [ACCEPTED],
        [NO_SUCH],
        [WRONG_EXPECTATION],
        [NO_SUCH, ACCEPTED, {"expect_rejected": {}}],
        [{"expect_events": ["Resume"]}],
        [{"clock": "+1s"}],
        [REFUSED, {"expect_rejected": {}}],
    ],
)
def test_a_refusal_that_nothing_expects_is_told_at_its_step(following: list[Any]) -> None:
    """This holds even if the next expectation fails because of the refusal."""
    verdict = verdict_of(ACCEPTED, REFUSED, *following)
    assert verdict.path == ("steps", 1, "stop")
    assert verdict.steps == 1
    assert verdict.problem is not None
    assert verdict.problem.startswith("steps[1].stop: refused: NOT_FOUND: ")


def test_a_refusal_in_a_repeat_is_told_with_its_round() -> None:
    again = {"event": {"wf": "w", "name": "e", "id": "same"}}
    verdict = verdict_of({"repeat": {"times": 3, "steps": [again]}})
    assert verdict.problem is not None
    assert verdict.problem.startswith("steps[0].repeat.steps[0].event (round 2): refused: ALREADY_EXISTS: ")


@pytest.mark.parametrize(
    "following",
    [
        [{"expect_rejected": {}}],
        [NO_SUCH, {"expect_rejected": {"code": "NOT_FOUND"}}],
        [NO_SUCH, {"expect_events": [{"Rejected": {"code": "NOT_FOUND"}}]}, NO_SUCH],
    ],
)
def test_a_refusal_that_one_of_the_next_expectations_names_is_none(following: list[Any]) -> None:
    assert verdict_of(REFUSED, *following).ok
