"""The versions of the rules differ in what `processors/core/rules/versions.py` says, and in nothing else."""

import re
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from halter.history.deciding import Rules
from halter.history.expected import Expected
from halter.history.found import Report
from halter.history.verify import How, verified
from processors.codec import Codec
from processors.core.records.events import Cause, Event, Halt, Ignored, LogEntry, Rejected, RejectionCode, ThreadHalted
from processors.core.records.model import ManualHalt
from processors.core.rules.versions import CHANGES, NOTHING, RULES, RuleChange
from tests.core.test_search_finds import BROKEN
from tests.support import rule_outcomes
from tests.support.compiled_core import replaces_a_rule
from tests.support.recordings import of_release
from tests.support.released import recording, versions

ROOT = Path(__file__).parents[2]
EVENTS = {event.__name__: event for event in get_args(Event)}
RULES_OF = {"0.1.0": 1, "0.2.0": 2}
"""Release -> the version of its rules. Recordings have no headers, which would say it."""
RUNS = {f"{version}-{run.scenario}": run for version in versions() for run in recording(version)}


@cache
def verified_run(name: str) -> Report:
    """Verify what a release did in a scenario, with today's rules."""
    run = RUNS[name]
    return verified(of_release(run), Codec.load(), How(unnamed_rules=RULES_OF[run.version]), limits=run.limits)


@pytest.mark.parametrize("name", RUNS)
def test_what_a_release_decided_differs_only_where_a_change_says_so(name: str) -> None:
    report = verified_run(name)
    assert (report.differences, report.unverified) == ({}, {})


def test_a_release_shows_each_change() -> None:
    reports = [verified_run(name) for name in RUNS]
    assert {change for it in reports for change in [*it.changes, *it.filled_otherwise]} == set(CHANGES)


RENEW = "CONTRIBUTING.md has a recipe, 'Change a rule'"


def test_a_rule_does_not_change_without_another_version_of_the_rules() -> None:
    before, today = rule_outcomes.recorded(), rule_outcomes.today()
    assert (today.release, today.rules) == (before.release, before.rules), RENEW
    assert before.otherwise(today) == [], RENEW
    assert before.digests.keys() == today.digests.keys(), RENEW


@replaces_a_rule
@pytest.mark.parametrize("wrong", ["halts before its children", "overlooks an ExternalEvent", "never starts a handler"])
def test_a_rule_that_changes_is_noticed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change_it, _, _ = BROKEN[wrong]
    change_it(monkeypatch)
    assert rule_outcomes.recorded().otherwise(rule_outcomes.today())


def test_versions_have_no_gap() -> None:
    numbers = [change.since for change in CHANGES]
    assert numbers == sorted(numbers)
    assert sorted({*numbers}) == list(range(2, RULES + 1))


@pytest.mark.parametrize("change", CHANGES, ids=lambda it: f"{it.since}-{it.rule}-{it.before}")
def test_a_change_speaks_of_what_there_is(change: RuleChange) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "rules").glob("*.md"))
    assert re.search(f"^### {change.rule}$", pages, re.MULTILINE)
    assert f"rules {change.since}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, *wanted in (it.split() for it in (change.before, change.after) if it != NOTHING):
        known = {it.name for it in fields(EVENTS[name])}
        assert {it.partition("=")[0].partition(".")[0] for it in [*wanted, *change.fields]} <= known
    assert not change.fields or change.before == change.after


THREE = Rules(3, (RuleChange(3, "still-before-halted", "", "Halt", "ThreadHalted"),))


def entry(event: Event) -> LogEntry:
    return LogEntry("w", 1, 2, 3, Cause("wf-commands", 0, 4, None, 0), event)


HALT, HALTED = entry(Halt(0, ManualHalt())), entry(ThreadHalted(0))


def test_what_newer_rules_decide_again_is_expected_as_they_say() -> None:
    assert Expected(THREE).change(2, HALT, HALTED) == THREE.changes[0]


def test_what_older_rules_decide_again_is_expected_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halter.history.expected.OURS", THREE)
    older = Expected(Rules(2, ()))
    assert older.change(3, HALTED, HALT) == THREE.changes[0]
    assert older.change(3, HALT, HALTED) is None


@pytest.mark.parametrize(("recorded", "decided"), [(3, 3), (2, 2), (3, 4), (None, 3), (2, None)])
def test_nothing_is_expected_without_a_change_in_between(recorded: int | None, decided: int | None) -> None:
    assert Expected(THREE._replace(number=decided)).change(recorded, HALT, HALTED) is None


def test_other_events_are_not_expected() -> None:
    expected = Expected(THREE)
    assert expected.change(2, HALTED, HALT) is None
    assert expected.change(2, None, HALTED) is None
    assert expected.change(2, HALT, None) is None
    assert expected.change(2, HALT, replace(HALTED, time_ms=9)) is None, "not at another time"
    assert expected.change(2, HALT, entry(Ignored("StopWfRun", ""))) is None


def test_the_absence_of_an_event_can_be_expected() -> None:
    change = RuleChange(3, "still-before-halted", "", NOTHING, "ThreadHalted")
    assert Expected(Rules(3, (change,))).change(2, None, HALTED) == change
    assert Expected(Rules(3, (change,))).change(2, HALT, HALTED) is None


def rejected(code: RejectionCode, message: str) -> LogEntry:
    return entry(Rejected("RunWf", code, message))


def test_a_change_of_a_field_expects_no_other_field_to_differ() -> None:
    worded = RuleChange(3, "rejection-codes", "", "Rejected code=NOT_FOUND", "Rejected code=NOT_FOUND", ("message",))
    expected = Expected(Rules(3, (worded,)))
    not_found, exists = RejectionCode.NOT_FOUND, RejectionCode.ALREADY_EXISTS
    assert expected.change(2, rejected(not_found, "a"), rejected(not_found, "b")) == worded
    assert expected.change(2, rejected(exists, "a"), rejected(exists, "b")) is None
    other = entry(Rejected("StopWfRun", not_found, "b"))
    assert expected.change(2, rejected(not_found, "a"), other) is None
