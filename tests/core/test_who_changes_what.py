"""Who may change a WfRun and its index: what `processors.core.rules` says, checked in the source and as it runs."""

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import pytest

from halter.explore.states import restored
from halter.scenarios.files import run_file
from processors.core.records.events import LogEntry
from processors.core.records.model import Index, WfRun
from processors.core.rules import engine
from tests.support.compiled_core import replaces_a_rule
from tests.support.states import same

RULES = Path(__file__).parents[2] / "processors" / "core" / "rules"
SCENARIOS = Path(__file__).parents[1] / "scenarios"

KEEPERS = {
    # What an event means: all of it, rows and index.
    ("evolve", "*"),
    ("indexing", "*"),
    # The engine: the time and the WfSpec of the command at work, what it may compute, what a restored WfRun has to do.
    ("engine", "__init__"),
    ("engine", "handle"),
    ("engine", "_follow"),
    ("engine", "indexed"),
    ("restoring", "note_restored"),
    ("decide/migrations", "migrated"),
    ("scope", "spend"),
    ("correlation_keys", "_keys_of"),
    # Whom to wake, and when.
    ("nodes/parking", "park"),
    ("nodes/parking", "wait_for_room"),
    ("nodes/parking", "note_wait"),
    ("nodes/waiting_for_threads", "_park"),
    ("agenda", "wake_parked"),
    ("agenda", "wake_for_completed"),
    ("agenda", "wake_for_failed"),
    ("agenda", "take_crowded"),
    ("agenda", "_on_posted"),
    # What others have still to do with a thread that would leave, and what waits in circles.
    ("retiring", "note_stay"),
    ("advance", "_wake_free_to_leave"),
    ("knots", "untie"),
    # What became hopeless since the rule before.
    ("dropping", "drop_hopeless_interrupts"),
}
"""(module, function): all that changes something that hangs on a WfRun. No other function does, so none that answers a
question does."""

NOTES = frozenset(
    {
        *("parked", "crowded", "open_waits", "left_to_complete", "left_to_fail"),
        *("across", "staying", "ended", "arrivals", "steps_left"),
    }
)
"""The fields of the index that rules change between two events; the others change with an event alone."""

_TYPES = frozenset({"WfRun", "ThreadRun", "NodeRun", "TaskRun", "WfRunExternalEvent", "Index"})
"""Types of what hangs on a WfRun. A parameter with one of them in its type hint brings it into a function."""
_MUTATORS = frozenset(
    {
        *("add", "append", "clear", "difference_update", "discard", "extend", "insert", "pop", "popitem", "remove"),
        *("reverse", "setdefault", "sort", "update", "insort", "heappush", "heappop"),
    }
)


class _Changes(ast.NodeVisitor):
    """Finds the functions of a module that change what hangs on a WfRun, by how their statements look.

    A name is followed through assignments within the function, `crowded = run.index.crowded`, and through loops: what a
    loop takes out of anything that hangs on a WfRun hangs there too, copies of lists included.
    """

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._function: str | None = None
        self._hanging: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self._function, self._hanging
        parameters = (*node.args.args, *node.args.kwonlyargs)
        self._function, self._hanging = node.name, {it.arg for it in parameters if _names_in(it.annotation) & _TYPES}
        for statement in node.body:
            self.visit(statement)
        self._function, self._hanging = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self._assign(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_For(self, node: ast.For) -> None:
        if any(isinstance(it, ast.expr) and self._is_hanging(it) for it in ast.walk(node.iter)):
            self._hanging.update(it.id for it in ast.walk(node.target) if isinstance(it, ast.Name))
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._note_if_part(target)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
            is_function = isinstance(node.func.value, ast.Name) and node.func.value.id in {"bisect", "heapq"}
            self._note_if_hanging(node.args[0] if is_function else node.func.value)
        self.generic_visit(node)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            values = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
            for one, its in zip(target.elts, values, strict=True):
                self._assign(one, its)
        elif isinstance(target, ast.Name):
            if self._is_hanging(value):
                self._hanging.add(target.id)
            else:
                self._hanging.discard(target.id)
        else:
            self._note_if_part(target)

    def _note_if_part(self, place: ast.expr) -> None:
        if isinstance(place, ast.Attribute | ast.Subscript):
            self._note_if_hanging(place.value)

    def _note_if_hanging(self, what: ast.expr) -> None:
        if self._function is not None and self._is_hanging(what):
            self.found.add(self._function)

    def _is_hanging(self, value: ast.expr) -> bool:
        """Say whether an expression is a part of what hangs on a WfRun, and no copy of it."""
        match value:
            case ast.Name(id=name):
                return name in self._hanging
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return name in {"_run", "_thread_run"}
            case ast.Attribute(value=owner) | ast.Subscript(value=owner):
                return self._is_hanging(owner)
            case ast.Call(func=ast.Attribute(value=owner, attr="get" | "setdefault" | "pop" | "values" | "items")):
                return self._is_hanging(owner)
            case ast.IfExp(body=one, orelse=other):
                return self._is_hanging(one) or self._is_hanging(other)
            case ast.BoolOp(values=values):
                return any(self._is_hanging(it) for it in values)
            case _:
                return False


def _names_in(hint: ast.expr | None) -> set[str]:
    return set() if hint is None else {it.id for it in ast.walk(hint) if isinstance(it, ast.Name)}


def changing(source: str) -> set[str]:
    """Return the functions in a source that change what hangs on a WfRun."""
    found = _Changes()
    found.visit(ast.parse(source))
    return found.found


def test_only_evolve_and_those_that_are_named_change_a_wf_run() -> None:
    found = set()
    for path in sorted(RULES.rglob("*.py")):
        module = str(path.relative_to(RULES).with_suffix(""))
        for function in changing(path.read_text(encoding="utf-8")):
            found.add((module, "*" if module in {"evolve", "indexing"} else function))
    assert found == KEEPERS


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("def f(loser: ThreadRun): loser.status = 1", True),
        ("def f(thread: ThreadRun | None): thread.node.position += 1", True),
        ("def f(run: WfRun, it: ThreadRun):\n for below in run.dependents(it): below.status = 1", True),
        ("def f(self):\n for thread in list(self._run.threads.values()): thread.status = 1", True),
        ("def f(run: WfRun): run.index.parked[1] = 2", True),
        ("def f(run: WfRun):\n crowded = run.index.crowded\n crowded.insert(0, 1)", True),
        ("def f(run: WfRun):\n for thread in run.threads.values(): thread.children.append(1)", True),
        ("def f(run: WfRun):\n if (left := run.index.left) is not None: left.pop(3)", True),
        ("def f(run: WfRun): del run.threads[3]", True),
        ("def f(run: WfRun): bisect.insort(run.index.crowded, 3)", True),
        ("def f(run: WfRun): return len(run.threads)", False),
        ("def f(run: WfRun):\n found = list(run.threads)\n found.append(3)", False),
        ("def f(run: WfRun, thread: ThreadRun):\n todo = [thread]\n todo.pop()", False),
    ],
)
def test_what_is_seen_as_a_change(source: str, changes: bool) -> None:
    assert bool(changing(source)) is changes


class _OnlyEvolve:
    """The engine's `evolve`, which finds out what has changed since it was last at work."""

    def __init__(self) -> None:
        self._after: dict[int, tuple[Index, Index, WfRun]] = {}
        """By a WfRun's index: itself, and how it and the rows were after the latest event. Who restores a WfRun makes
        another index.
        """
        self._evolve = engine.evolve

    def __call__(self, run: WfRun, entry: LogEntry) -> None:
        if id(run.index) in self._after:
            _, index, rows = self._after[id(run.index)]
            rows.time_ms = run.time_ms  # the engine sets it ahead, to the time of the command
            assert same(rows, run), f"changed before {entry}"
            assert not set(_differing(index, run.index)) - NOTES, f"changed before {entry}"
        self._evolve(run, entry)
        self._after[id(run.index)] = run.index, deepcopy(run.index), restored(run)


def _differing(one: Index, other: Index) -> Iterator[str]:
    for name in (it.name for it in fields(Index)):
        if name not in {"pending_ranks", "unstarted_ranks"} and getattr(one, name) != getattr(other, name):
            yield name


@replaces_a_rule
def test_between_two_events_nothing_changes_but_notes_of_whom_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = 0
    for path in sorted(SCENARIOS.glob("*.yaml"))[::16]:  # of every theme some; all take minutes
        monkeypatch.setattr(engine, "evolve", _OnlyEvolve())
        runs += run_file(path).ok
        monkeypatch.undo()
    assert runs > 20
