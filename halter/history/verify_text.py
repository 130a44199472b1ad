"""What verifying found, in words and as JSON."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from halter.history.checking_state import StateReport
from halter.history.difference import ABSENT, Change, path_text, value_changes
from halter.history.explaining import Explained
from halter.history.found import KeyDifference, KeyReport, Report
from halter.show.counting import counted
from halter.show.history import cause_text, entry_data
from halter.show.log_text import event_line
from halter.show.plain import plain
from processors.codec import Codec, DecodeError
from processors.core.records.events import CorrelationDecided, LogEntry
from processors.core.records.topic_names import CORRELATION_EVENTS, WF_EVENTS
from processors.core.rules.versions import RuleChange

CHANGES_SHOWN: Final = 12
WF_RUNS_SHOWN: Final = 5
KEYS_SHOWN: Final = 100
VALUE_WIDTH_MAX: Final = 60
MANY: Final = 10_000
"""Events from which on it is the deciding that takes the time, so that a speed says something."""


def verdict(report: Report) -> str:
    """Return the verdict in a sentence."""
    if report.differences or report.keys.differences:
        differ = [_differ(len(report.differences))] if report.differences else []
        return " and ".join([*differ, *_keys_differ(len(report.keys.differences))])
    if report.expected or report.filled_otherwise:
        return "nothing differs but for changes of the rules"
    return "every event is as it was recorded" if report.events else "nothing was verified"


def summary(report: Report, seconds: float) -> Iterator[str]:
    """Yield the lines that say what was verified, and what was not."""
    speed = f", {report.events / seconds:,.0f} events/s" if seconds >= 1 and report.events >= MANY else ""
    letters = f", {report.dead_letters:,} of them dead letters" if report.dead_letters else ""
    yield (
        f"{counted(report.events, 'event')} {'is' if report.events == 1 else 'are'} the same, of "
        f"{counted(report.inputs, 'input')}{letters}; {_wf_runs(report.wf_runs)} "
        f"started among them ({seconds:.1f} s{speed})"
    )
    keys = report.keys
    if keys.decisions:
        what = "decision about correlation keys is" if keys.decisions == 1 else "decisions about correlation keys are"
        yield f"{keys.decisions:,} {what} the same"
    if keys.taken_over:
        yield f"{keys.taken_over:,} decisions about correlation keys before these were taken as they are"
    if keys.are_unknown:
        yield "not verified: decisions about correlation keys: the other rules do not decide them again"
    if report.taken_over:
        yield f"{report.taken_over:,} events before these were taken as they are: their inputs are gone"
    if report.by_older_schemas:
        yield f"{report.by_older_schemas:,} events have the schema of another release, and the same values"
    if report.assumed:
        yield (
            f"{report.assumed:,} definitions were deleted since, and when they were registered is not known any more: "
            "a WfSpec counts from its first WfRun on, another one from the beginning"
        )
    for number, unverified in ((_wf_runs, report.unverified), (_keys, keys.unverified)):
        reasons: dict[str, list[str]] = {}
        for name, reason in unverified.items():
            reasons.setdefault(reason.value, []).append(name)
        for why, names in reasons.items():
            some = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
            yield f"not verified: {number(len(names))} ({some}): {why}"


def totals(report: Report) -> Iterator[str]:
    """Yield the lines that count the differences."""
    for kind, number in report.kinds.most_common():
        yield f"{number:>7,}  {kind.value}"
    for change, number in sorted(report.changes.items(), key=_version):
        yield f"expected since rules {change.since}: {_differ(number)}: {change.says} ({change.rule})"
    for change, number in sorted(report.filled_otherwise.items(), key=_version):
        events = "1 event differs" if number == 1 else f"{number:,} events differ"
        where = " and ".join(change.fields)
        yield f"expected since rules {change.since}: {events} in {where} only: {change.says} ({change.rule})"
    ends = {pair: number for pair, number in report.ends.items() if pair[0] != pair[1]}
    for (recorded, decided), number in sorted(ends.items()):
        yield f"{number:>7,}  ended with {recorded}, and would end with {decided}"


def explained_lines(it: Explained, *, unmask: bool = False) -> Iterator[str]:
    """Yield the lines that tell one difference."""
    difference = it.difference
    entry = it.recorded or it.decided
    told = [
        "" if entry is None or not entry.seq else f"event {entry.seq}",
        "" if difference.offset is None else f"{WF_EVENTS}[{difference.partition}]@{difference.offset}",
        "" if difference.cause is None else f"because of {cause_text(difference.cause)}",
    ]
    change = "" if difference.change is None else f", expected since rules {difference.change.since}"
    yield f"{difference.wf_run_id}, {', '.join(filter(None, told))}: {difference.kind.value}{change}"
    if difference.message is not None:
        yield f"  raised    {difference.message if unmask else difference.message.partition(':')[0]}"
    yield f"  recorded  {_event(it.recorded)}"
    yield f"  decided   {_event(it.decided)}"
    yield from _changes("event", it.fields)
    yield from _changes("state", it.state)
    for note in it.notes:
        yield f"  {note}"


def key_lines(key: str, difference: KeyDifference) -> Iterator[str]:
    """Yield the lines that tell how a correlation key differs."""
    it = difference
    told = [
        "" if it.offset is None else f"{CORRELATION_EVENTS}[{it.partition}]@{it.offset}",
        "" if it.cause is None else f"because of {cause_text(it.cause)}",
    ]
    yield f"{', '.join(filter(None, (f'key {key}', *told)))}: {it.kind.value}"
    if it.message is not None:
        yield f"  raised    {it.message.partition(':')[0]}"
    yield f"  recorded  {_decision(it.recorded)}"
    yield f"  decided   {_decision(it.decided)}"


def _decision(decided: CorrelationDecided | None) -> str:
    if decided is None:
        return "nothing"
    ids = ", ".join(it.wf_run_id for it in decided.wf_runs[:WF_RUNS_SHOWN])
    more = len(decided.wf_runs) - WF_RUNS_SHOWN
    to = "" if not ids else f" ({ids}{f' and {more:,} more' if more > 0 else ''})"
    return f"{decided.outcome.value}{'' if decided.external_event_id is None else f' {decided.external_event_id}'}{to}"


def _event(entry: LogEntry | None) -> str:
    return "nothing" if entry is None else event_line(entry.event)


def _changes(what: str, changes: Sequence[Change]) -> Iterator[str]:
    for change in changes[:CHANGES_SHOWN]:
        yield f"  {what:<8}  {_place(change)}: {_value(change.before)} recorded, {_value(change.after)} decided"
    if len(changes) > CHANGES_SHOWN:
        yield f"  {what:<8}  and {len(changes) - CHANGES_SHOWN} more"


def _place(change: Change) -> str:
    if change.path[:1] == ("threads",) and len(change.path) > 1:
        return f"#{change.path[1]} {path_text(change.path[2:])}".strip()
    return path_text(change.path)


def _value(value: Any) -> str:
    text = "nothing" if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_WIDTH_MAX else text[: VALUE_WIDTH_MAX - 1] + "…"


def _version(counted: tuple[RuleChange, int]) -> int:
    return counted[0].since


def _differ(number: int) -> str:
    return f"{_wf_runs(number)} {'differs' if number == 1 else 'differ'}"


def _wf_runs(number: int) -> str:
    return "1 WfRun" if number == 1 else f"{number:,} WfRuns"


def _keys_differ(number: int) -> list[str]:
    return [] if not number else [f"{_keys(number)} {'differs' if number == 1 else 'differ'}"]


def _keys(number: int) -> str:
    return "1 correlation key" if number == 1 else f"{number:,} correlation keys"


def report_data(report: Report, explained: list[Explained], seconds: float) -> dict[str, Any]:
    """Return what was found as JSON data."""
    return {
        "same": not (report.differences or report.expected or report.filled_otherwise or report.keys.differences),
        "events": report.events,
        "inputs": report.inputs,
        "wf_runs_started": report.wf_runs,
        "dead_letters": report.dead_letters,
        "taken_as_they_are": report.taken_over,
        "by_older_schemas": report.by_older_schemas,
        "definitions_assumed": report.assumed,
        "seconds": round(seconds, 3),
        "wf_runs_that_differ": len(report.differences),
        "kinds": {kind.value: number for kind, number in report.kinds.items()},
        "expected": [
            *(_change_of_rules(change) | {"wf_runs": number} for change, number in report.changes.items()),
            *(_change_of_rules(change) | {"events": number} for change, number in report.filled_otherwise.items()),
        ],
        "newer_rules": report.newer_rules,
        "ends": [
            {"recorded": recorded, "decided": decided, "wf_runs": number}
            for (recorded, decided), number in sorted(report.ends.items())
        ],
        "not_verified": {wf_run_id: reason.value for wf_run_id, reason in sorted(report.unverified.items())},
        "differences": [_explained_data(it) for it in explained],
        "keys": _keys_data(report.keys),
    }


def _keys_data(report: KeyReport) -> dict[str, Any]:
    return {
        "decisions": report.decisions,
        "taken_as_they_are": report.taken_over,
        "are_decided_again": not report.are_unknown,
        "that_differ": len(report.differences),
        "not_verified": {key: reason.value for key, reason in sorted(report.unverified.items())},
        "differences": [
            {
                "key": key,
                "kind": it.kind.value,
                "partition": it.partition,
                "offset": it.offset,
                "cause": None if it.cause is None else plain(it.cause),
                "recorded": None if it.recorded is None else plain(it.recorded),
                "decided": None if it.decided is None else plain(it.decided),
            }
            for key, it in islice(report.differences.items(), KEYS_SHOWN)
        ],
    }


def _explained_data(it: Explained) -> dict[str, Any]:
    difference = it.difference
    return {
        "wf_run_id": difference.wf_run_id,
        "kind": difference.kind.value,
        "recorded_by_rules": difference.rules,
        "expected_since_rules": None if difference.change is None else difference.change.since,
        "partition": difference.partition,
        "offset": difference.offset,
        "cause": None if difference.cause is None else plain(difference.cause),
        "recorded": None if it.recorded is None else entry_data(it.recorded),
        "decided": None if it.decided is None else entry_data(it.decided),
        "fields": [_change_data(change) for change in it.fields],
        "state": [_change_data(change) for change in it.state],
        "notes": list(it.notes),
    }


def _change_of_rules(change: RuleChange) -> dict[str, Any]:
    return {"since_rules": change.since, "rule": change.rule, "says": change.says}


def _change_data(change: Change) -> dict[str, Any]:
    sides = {"recorded": change.before, "decided": change.after}
    return {"path": list(change.path), **{side: value for side, value in sides.items() if value is not ABSENT}}


def state_lines(report: StateReport, codec: Codec, show: int, *, unmask: bool = False) -> Iterator[str]:
    """Yield the lines that tell what checking the rows of a partition found."""
    found = len(report.differences)
    yield f"{found:,} {'row is' if found == 1 else 'rows are'} not as the log says" if found else "rows and log agree"
    for kind, number in report.kinds.most_common():
        yield f"{number:>7,}  {kind.value}"
    yield f"{report.rows:,} rows of {_wf_runs(report.wf_runs)} are as {report.events:,} events say"
    if report.unsettled:
        yield f"not compared: {_wf_runs(report.unsettled)}, written meanwhile"
    if report.beginning_gone:
        yield f"not compared: {_wf_runs(report.beginning_gone)}, of which the log does not have everything"
    for difference in report.differences[:show]:
        yield ""
        key = difference.key.decode(errors="backslashreplace")
        yield f"{difference.topic} {key}: {difference.kind.value}"
        expected, actual = (_row(value, codec) for value in (difference.expected, difference.found))
        changes = list(value_changes((), expected, actual))
        # Below the name of a Variable, a path has keys of its value.
        places = [path_text(it.path if unmask else it.path[:2]) or "the row" for it in changes]
        values = [f": {_value(it.before)} by the log, {_value(it.after)} in the row" for it in changes]
        told = dict.fromkeys(f"  {place}{value * unmask}" for place, value in zip(places, values, strict=True))
        yield from islice(told, CHANGES_SHOWN)


def state_data(report: StateReport) -> dict[str, Any]:
    """Return the same as JSON data, without values."""
    return {
        "same": not report.differences,
        "rows": report.rows,
        "wf_runs": report.wf_runs,
        "events": report.events,
        "wf_runs_written_meanwhile": report.unsettled,
        "wf_runs_without_beginning": report.beginning_gone,
        "kinds": {kind.value: number for kind, number in report.kinds.items()},
        "differences": [
            {"topic": it.topic, "key": it.key.decode(errors="backslashreplace"), "kind": it.kind.value}
            for it in report.differences
        ],
    }


def _row(value: bytes | None, codec: Codec) -> Any:
    try:
        return ABSENT if value is None else plain(codec.decode(value))
    except DecodeError as error:
        return str(error)
