"""Makes the scenario document of a history small: drops what does not matter for what it expects.

It drops an input, a value or a ThreadSpec, runs the document in memory, and takes it back if it is not as expected any
more. Inputs go in halves, then in quarters, down to single ones (delta debugging), so none that is left can go alone.
Of a few that are left no two can go either: an event and the report of the task that its handler ran go together only.
"""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

from halter.files.yaml_files import UnreadableFile, parse_yaml
from halter.history.scenario_check import judged
from halter.history.scenario_of import Draft, Given
from halter.history.turns import NoScenario
from halter.scenarios.files import in_memory

TRIES_MAX: Final = 5_000
"""The most documents to run."""
PAIRS_MAX: Final = 40
"""The most inputs of which any two are tried together."""
_THREAD: Final = re.compile(r"thread (\d{1,9}) is ([A-Z]+)(?: (\S+))?")
_WF_RUN: Final = re.compile(r"(?:the )?wf ?run is ([A-Z]+)", re.IGNORECASE)
_EVENT: Final = re.compile(r"(.+) is (UNCLAIMED|DROPPED|SUPERSEDED)", re.DOTALL)
_FORMS: Final = "'thread 0 is ERROR CHILD_FAILED', 'WfRun is ERROR', 'e2 is UNCLAIMED', or fields of expect in YAML"


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A smaller document, and how many were tried."""

    draft: Draft
    tries: int


def kept(draft: Draft, wanted: Sequence[str]) -> Draft:
    """Return a document that expects only this at its end. Raises NoScenario if that is not so."""
    smaller = replace(draft, outcome=[{"expect": {"wf": draft.wf_run_id} | _part(draft, one)} for one in wanted])
    verdict, _ = judged(smaller)
    if verdict.problem is not None:
        raise NoScenario(f"--keep: expected something that is so at the end, found {verdict.problem}")
    return smaller


def _part(draft: Draft, wanted: str) -> dict[str, Any]:
    """Return the fields of `expect` that a sentence, or YAML, stands for."""
    if thread := _THREAD.fullmatch(wanted.strip()):
        failure = {"failure": {"name": thread[3]}} if thread[3] else {}
        return {"threads": {int(thread[1]): {"status": thread[2]} | failure}}
    if wf_run := _WF_RUN.fullmatch(wanted.strip()):
        return {"status": wf_run[1].upper()}
    if event := _EVENT.fullmatch(wanted.strip()):
        return _event_part(draft, event[1], event[2].lower())
    return {name: value for name, value in _fields(wanted).items() if name != "wf"}


def check_keep(wanted: str) -> None:
    """Raise NoScenario for what says nothing of any scenario."""
    if not any(form.fullmatch(wanted.strip()) for form in (_THREAD, _WF_RUN, _EVENT)):
        _fields(wanted)


def _fields(wanted: str) -> dict[str, Any]:
    """Return the fields of `expect` that are written in YAML. Raises NoScenario."""
    try:
        data = parse_yaml(wanted, "--keep").data
    except UnreadableFile as error:
        raise NoScenario(f"expected {_FORMS}; {error}") from None
    if not isinstance(data, dict) or not data:
        raise NoScenario(f"--keep: expected {_FORMS}; found {wanted[:80]!r}")
    return data


def _event_part(draft: Draft, event_id: str, status: str) -> dict[str, Any]:
    """Return the fields of `expect` that say what became of an ExternalEvent, beside others."""
    recorded: dict[str, Any] = {}
    for step in draft.outcome:
        recorded |= step["expect"]
    ids = recorded.get(status, [])
    if event_id not in ids:
        raise NoScenario(f"--keep: expected an ExternalEvent that is {status.upper()} at the end, found '{event_id}'")
    outcomes = recorded.get("outcomes", {})
    if len(ids) > 1 and event_id in outcomes:
        return {"outcomes": {event_id: outcomes[event_id]}}  # a list is compared as a whole, with the others
    return {status: ids}


def shrunk(draft: Draft) -> Shrunk:
    """Return the document without what does not matter. Raises NoScenario if it is not as it expects from the start."""
    verdict, _ = judged(draft)
    if verdict.problem is not None:
        raise NoScenario(f"expected a scenario that is ok before it is made smaller, found {verdict.problem}")
    shrinking = _Shrinking(draft)
    shrinking.run()
    return Shrunk(shrinking.draft, shrinking.tries)


class _Shrinking:
    """Makes one document smaller, step by step."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.tries = draft, 0

    def run(self) -> None:
        """Drop as long as something can go."""
        while self.tries < TRIES_MAX:
            before = self.draft
            self._drop_inputs()
            self._drop_values()
            self._drop_definitions()
            self._join_clocks()
            if self.draft is before and not self._drop_two():
                return

    def _try(self, **changed: Any) -> bool:
        """Take a change of the document if everything is still as expected."""
        if self.tries >= TRIES_MAX:
            return False
        self.tries += 1
        draft = replace(self.draft, **changed)
        scenario = draft.scenario()
        if scenario is None or not in_memory(scenario).ok:
            return False
        self.draft = draft
        return True

    def _drop_inputs(self) -> None:
        size = max(1, len(self.draft.given) // 2)
        while True:
            at = len(self.draft.given)
            while at > 0:
                # From the end: later inputs need earlier ones, not the other way round.
                begin = max(0, at - size)
                given = self.draft.given
                self._try(given=[*given[:begin], *given[at:]])
                at = begin
            if size == 1:
                return
            size //= 2

    def _drop_two(self) -> bool:
        """Drop two inputs that go together only. Returns False if there are none."""
        given = self.draft.given
        if len(given) > PAIRS_MAX:
            return False
        pairs = combinations(reversed(range(len(given))), 2)
        return any(self._try(given=[it for at, it in enumerate(given) if at not in pair]) for pair in pairs)

    def _drop_values(self) -> None:
        for index, (does, expects) in enumerate(self.draft.given):
            for path in _values(does):
                given = [*self.draft.given]
                given[index] = Given(_without(given[index].does, path), expects)
                self._try(given=given)

    def _drop_definitions(self) -> None:
        for change in (*_without_threads(self.draft.head), *_without_definitions(self.draft.head)):
            head = copy.deepcopy(self.draft.head)
            if change(head):
                self._try(head=head)

    def _join_clocks(self) -> None:
        index = 1
        while index < len(self.draft.given):
            one, other = self.draft.given[index - 1 : index + 1]
            if set(one.does) == set(other.does) == {"clock"} and not one.expects:
                wait_ms = _milliseconds(one) + _milliseconds(other)
                joined = Given({"clock": f"+{wait_ms}ms"}, other.expects)
                if self._try(given=[*self.draft.given[: index - 1], joined, *self.draft.given[index + 1 :]]):
                    continue
            index += 1


def _milliseconds(given: Given) -> int:
    return int(given.does["clock"][1:-2])


_MAY_GO: Final = {"run": "variables", "event": "content", "report": "output message content"}


def _values(step: dict[str, Any]) -> Iterator[list[str]]:
    """Yield where a step has values that may go: all of a field, then each Variable."""
    [(kind, fields)] = step.items()
    for name in _MAY_GO.get(kind, "").split():
        if name in fields:
            yield [kind, name]
    if kind == "run":
        yield from ([kind, "variables", name] for name in fields.get("variables", ()))


def _without(step: Any, path: Sequence[str]) -> Any:
    """Return a copy of a step without what is at a path."""
    name, *rest = path
    if name not in step:
        return step
    if not rest:
        return {key: value for key, value in step.items() if key != name}
    return step | {name: _without(step[name], rest)}


Change = Callable[[dict[str, Any]], bool]
"""Changes the head of a document in place; returns False if there is nothing to change."""


def _without_threads(head: dict[str, Any]) -> Iterator[Change]:
    """Yield changes that take a ThreadSpec out of its WfSpec, with the handlers that name it."""

    def without(index: int, thread: str) -> Change:
        def change(head: dict[str, Any]) -> bool:
            spec = head["wf_specs"][index]
            if spec["threads"].pop(thread, None) is None:
                return False
            _forget_handler(spec, thread)
            return True

        return change

    for index, spec in enumerate(head.get("wf_specs", ())):
        for thread in spec["threads"]:
            if thread != spec["entrypoint"]:
                yield without(index, thread)


def _forget_handler(value: Any, thread: str) -> None:
    """Take all that names a thread as its handler out of lists."""
    match value:
        case dict():
            for name, item in [*value.items()]:
                had = bool(item)
                _forget_handler(item, thread)
                if had and isinstance(item, list) and not item:
                    del value[name]
        case list():
            value[:] = [item for item in value if not (isinstance(item, dict) and item.get("handler") == thread)]
            for item in value:
                _forget_handler(item, thread)


def _without_definitions(head: dict[str, Any]) -> Iterator[Change]:
    """Yield changes that take out a definition that nothing may need."""

    def without(kind: str, name: str) -> Change:
        def change(head: dict[str, Any]) -> bool:
            there = head.get(kind, {}).pop(name, None) is not None
            if there and not head[kind]:
                del head[kind]
            return there

        return change

    for kind in ("external_events", "tasks", "workflow_events"):
        yield from (without(kind, name) for name in head.get(kind, ()))
    for limit in head.get("limits", ()):
        yield without("limits", limit)
