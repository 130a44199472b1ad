"""Tells what differs between two states of a WfRun: threads, halt reasons, waits, Variables by JSON path, events.

A state is told as plain data (`facts`), and a difference as a list of changes with paths into that data. Applying the
changes to the facts of the one state gives those of the other. Where a row or a value is the same object in both states
it is not looked into, so that stepping along a log costs what changed and no more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from halter.show.plain import plain, plain_field
from halter.show.waiting_text import wait_data
from processors.core.records.model import ExternalEventKey, NodeRun, ThreadRun, WfRun, WfRunExternalEvent
from processors.core.records.spec import JsonPath
from processors.core.rules.waiting import waits_of

Path: TypeAlias = tuple[str | int, ...]

THREADS: Final = "threads"
VARIABLES: Final = "variables"
EXTERNAL_EVENTS: Final = "external_events"
KEPT_INPUTS: Final = "kept_inputs"
WAITS: Final = "waits_for"

_TOLD_APART: Final = frozenset({"changes", "index", "spec", THREADS, EXTERNAL_EVENTS, KEPT_INPUTS})
_COORDINATES: Final = frozenset({"wf_run_id", "incarnation", "seq", "time_ms", "definitions_position", "command_ids",
                                 "number", "posted_offset", "posted_seq"})  # fmt: skip
"""Fields that say where a state or a row stands. They differ between any two states and tell nothing."""


_OWN: Final = (*(it.name for it in fields(WfRun) if it.name not in _TOLD_APART | _COORDINATES), KEPT_INPUTS)
_HOLDS_VALUES: Final = frozenset({VARIABLES, "arrival_failure", "content", "failure", "node", "output", "outputs",
                                  "task"})  # fmt: skip
"""Fields in which there are values: 1, 1.0 and True are equal in Python. All other fields differ if they are not equal.
"""


class _Absent:
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands for what is not there in one of two states. A null is there."""


@dataclass(frozen=True, slots=True)
class Change:
    """A place that differs, and what is there before and after: plain JSON data, or ABSENT.

    `path` leads there from the facts of a state: `("threads", 0, "variables", "items", 2, "sku")`. An item that was
    taken out of a list has the index that it had before, one that was put in the index that it has afterwards.
    """

    path: Path
    before: Any
    after: Any

    @property
    def thread(self) -> int | None:
        """The thread in which it is; None if it is not in a thread."""
        return self.path[1] if self.path[0] == THREADS else None  # type: ignore[return-value]  # numbers of threads

    @property
    def variable(self) -> str | None:
        """The Variable in which it is; None if it is in none."""
        is_in_one = self.thread is not None and self.path[2:3] == (VARIABLES,) and len(self.path) > 3
        return str(self.path[3]) if is_in_one else None

    @property
    def place(self) -> str:
        """The path below its thread, its Variable or the WfRun, as people write it: `items[2].sku`."""
        path = self.path[3:] if self.variable is not None else self.path[2:] if self.thread is not None else self.path
        return path_text(path)


def path_text(path: Path) -> str:
    """A path as people write it: `items[2].sku`."""
    return "" if not path else f"{path[0]}{str(JsonPath(path[1:]))[1:]}"


def facts(run: WfRun, *, times: bool = True, waits: bool = False) -> dict[str, Any]:
    """Return the state of a WfRun as plain data.

    Without `times` two WfRuns can be compared, which ran at different times. With `waits` it says what each thread
    waits for, which follows from the WfSpec (`halter.show.wf_run_text.understood`).
    """
    told = _own_facts(run, times=times)
    told[THREADS] = {
        number: _row_facts(thread, times=times) | ({WAITS: _waits(run, thread, times=times)} if waits else {})
        for number, thread in run.threads.items()
    }
    told[EXTERNAL_EVENTS] = {
        " ".join(key): _row_facts(event, times=times) for key, event in run.external_events.items()
    }
    return told


def differences(before: WfRun, after: WfRun, *, times: bool = True, waits: bool = False) -> list[Change]:
    """Return what differs between two states: `before` and `after` of one WfRun, or of two WfRuns."""
    found = list(own_changes(before, after, times=times))
    for number in sorted({*before.threads, *after.threads}):
        old, new = before.threads.get(number), after.threads.get(number)
        found += thread_changes(number, old, new, times=times)
        if waits:
            told = [ABSENT if it is None else _waits(run, it, times=times) for run, it in ((before, old), (after, new))]
            if old is not None and new is not None:
                found += value_changes((THREADS, number, WAITS), *told)
            else:
                found[-1] = _with_waits(found[-1], *told)
    for key in {**before.external_events, **after.external_events}:
        found += external_event_changes(
            key, before.external_events.get(key), after.external_events.get(key), times=times
        )
    return found


def own_changes(before: WfRun, after: WfRun, *, times: bool = True) -> Iterator[Change]:
    """Yield what differs in what a WfRun has besides threads and ExternalEvents."""
    same = (getattr(before, name) == getattr(after, name) for name in _OWN)
    if before.status is not after.status or not all(same):
        yield from value_changes((), _own_facts(before, times=times), _own_facts(after, times=times))


def thread_changes(
    number: int, before: ThreadRun | None, after: ThreadRun | None, *, times: bool = True
) -> Iterator[Change]:
    """Yield what differs between two rows of a thread; None stands for a thread that is not there."""
    return _row_changes((THREADS, number), before, after, times=times)


def external_event_changes(
    key: ExternalEventKey, before: WfRunExternalEvent | None, after: WfRunExternalEvent | None, *, times: bool = True
) -> Iterator[Change]:
    """Yield what differs between two rows of an ExternalEvent; None stands for one that is not there."""
    return _row_changes((EXTERNAL_EVENTS, " ".join(key)), before, after, times=times)


def value_changes(path: Path, before: Any, after: Any) -> Iterator[Change]:
    """Yield what differs between two values of plain data."""
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from value_changes((*path, key), before.get(key, ABSENT), after.get(key, ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(path, before, after)
    elif not _same(before, after):
        yield Change(path, before, after)


def applied(told: Any, changes: Sequence[Change]) -> Any:
    """Return the facts of the later state: those of the earlier one with changes from `differences` applied."""
    result = _copied(told)
    apply(result, changes)
    return result


def apply(told: Any, changes: Sequence[Change]) -> None:
    """Change facts as `applied` does, in place."""
    put = [change for change in changes if change.after is not ABSENT]
    taken = [change for change in changes if change.after is ABSENT]
    for change in [*(it for it in put if it.before is not ABSENT), *reversed(taken)]:
        inside = _at(told, change.path[:-1])
        if change.after is ABSENT:
            del inside[change.path[-1]]
        else:
            inside[change.path[-1]] = _copied(change.after)
    for change in put:
        if change.before is ABSENT:
            inside = _at(told, change.path[:-1])
            if isinstance(inside, list):
                inside.insert(int(change.path[-1]), _copied(change.after))
            else:
                inside[change.path[-1]] = _copied(change.after)


def _own_facts(run: WfRun, *, times: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"status": None if run.status is None else run.status.value}
    for item in fields(run):
        if item.name not in _TOLD_APART and item.name not in _COORDINATES and (times or not item.name.endswith("_ms")):
            told |= plain_field(item.name, getattr(run, item.name), times=times)
    told["wf_spec"] = None if run.wf_spec is None else str(run.wf_spec)
    told[KEPT_INPUTS] = [plain(kept, times=times) for kept in run.kept_inputs]
    return told


def _row_facts(row: ThreadRun | WfRunExternalEvent, *, times: bool) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for item in fields(row):
        if item.name not in _COORDINATES and (times or not item.name.endswith("_ms")):
            told |= plain_field(item.name, getattr(row, item.name), times=times)
    return told


def _row_changes(
    path: Path,
    before: ThreadRun | WfRunExternalEvent | None,
    after: ThreadRun | WfRunExternalEvent | None,
    *,
    times: bool,
) -> Iterator[Change]:
    if before is after:
        return
    if before is None or after is None:
        told = [ABSENT if it is None else _row_facts(it, times=times) for it in (before, after)]
        yield Change(path, *told)
        return
    yield from _field_changes(path, before, after, times=times)


def _field_changes(path: Path, before: Any, after: Any, *, times: bool) -> Iterator[Change]:
    """Yield what differs between the fields of two rows, or of the nodes at which two threads are."""
    for item in fields(before):
        name = item.name
        old, new = getattr(before, name), getattr(after, name)
        if old is new or (name not in _HOLDS_VALUES and old == new):
            continue
        if name in _COORDINATES or (not times and name.endswith("_ms")):
            continue
        if name in (VARIABLES, "outputs"):
            yield from _named_values((*path, name), old, new)
        elif isinstance(old, NodeRun):
            yield from _field_changes((*path, name), old, new, times=times)
        else:
            (told_name, told), (_, told_after) = (
                next(iter(plain_field(name, it, times=times).items())) for it in (old, new)
            )
            yield from value_changes((*path, told_name), told, told_after)


def _named_values(path: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what differs between two maps of values. A value that was not written is the same object in both."""
    for name in {**before, **after}:
        old, new = before.get(name, ABSENT), after.get(name, ABSENT)
        if old is not new:
            yield from value_changes((*path, name), *(it if it is ABSENT else plain(it) for it in (old, new)))


def _list_changes(path: Path, before: list[Any], after: list[Any]) -> Iterator[Change]:
    """Yield what differs between two lists. What both begin with and end with is left out, then items are paired."""
    shorter = min(len(before), len(after))
    first = 0
    while first < shorter and _same(before[first], after[first]):
        first += 1
    last = 0
    while last < shorter - first and _same(before[-1 - last], after[-1 - last]):
        last += 1
    paired = shorter - last
    for index in range(first, paired):
        yield from value_changes((*path, index), before[index], after[index])
    for index in range(paired, len(before) - last):
        yield Change((*path, index), before[index], ABSENT)
    for index in range(paired, len(after) - last):
        yield Change((*path, index), ABSENT, after[index])


def _same(before: Any, after: Any) -> bool:
    """Return True if two values are equal and of one type: in Python 1, 1.0 and True are equal."""
    if type(before) is not type(after):
        return False
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(value, after[key]) for key, value in before.items())
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return bool(before == after) or (before != before and after != after)  # noqa: PLR0124  NaN


def _waits(run: WfRun, thread: ThreadRun, *, times: bool) -> list[dict[str, Any]]:
    return [wait_data(wait, times=times) for wait in waits_of(run, thread)]


def _with_waits(change: Change, before: Any, after: Any) -> Change:
    """Return the change by which a thread comes or goes, with its waits."""
    told = [
        row if row is ABSENT else row | {WAITS: waits}
        for row, waits in ((change.before, before), (change.after, after))
    ]
    return Change(change.path, *told)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return list(map(_copied, value)) if isinstance(value, list) else value


def _at(told: Any, path: Path) -> Any:
    for step in path:
        told = told[step]
    return told
