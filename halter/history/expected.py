"""Which differences are to be expected, because rules have changed between those that decided and those that do again.

Pure: it is given the events that differ. The changes are those that the newer of the two versions names.
"""

from collections.abc import Iterator
from dataclasses import replace

from halter.history.deciding import OURS, Rules
from halter.history.difference import value_changes
from halter.show.plain import plain
from processors.core.records.events import Event, LogEntry
from processors.core.rules.versions import NOTHING, RuleChange


class Expected:
    """What is expected to differ where rules decide again what others have decided."""

    def __init__(self, rules: Rules, unnamed: int | None = None) -> None:
        """`rules` decide again. `unnamed` is the version that decided events whose records name none."""
        self._decided, self._unnamed = rules.number, unnamed
        # Whoever knows a version knows the changes of all before it.
        newest = max(rules, OURS, key=lambda it: it.number or 0)
        self._changes = newest.changes
        self.newest = newest.number or 0
        """The newest version of which the changes are known."""

    def change(self, rules: int | None, recorded: LogEntry | None, decided: LogEntry | None) -> RuleChange | None:
        """Return the change of the rules that explains a difference; None if none does.

        `rules` is the version that the recorded entry names. An entry is None where there is none.
        """
        rules = self._unnamed if rules is None else rules
        if rules is None or self._decided is None:
            return None
        if recorded is not None and decided is not None and replace(recorded, event=decided.event) != decided:
            return None  # they differ elsewhere, too
        before, after = (None if it is None else it.event for it in (recorded, decided))
        for change, was, becomes in self._between(rules, self._decided):
            is_so = _is(before, was) and _is(after, becomes)
            if is_so and (not change.fields or _paths(before, after) <= {*change.fields}):
                return change
        return None

    def _between(self, recorded: int, decided: int) -> Iterator[tuple[RuleChange, str, str]]:
        """Yield the changes between two versions, each with the event as it was recorded and as it is decided again."""
        for change in self._changes:
            if recorded < change.since <= decided:
                yield change, change.before, change.after
            elif decided < change.since <= recorded:
                yield change, change.after, change.before


def _is(event: Event | None, described: str) -> bool:
    """Return True if an event is what a change describes."""
    if event is None or described == NOTHING:
        return event is None and described == NOTHING
    name, *wanted = described.split()
    return type(event).__name__ == name and all(_has(event, *it.split("=", 1)) for it in wanted)


def _has(event: Event, path: str, value: str) -> bool:
    """Return True if an event has a value at a path: `reason.reason`."""
    found = plain(event)
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return str(found) == value


def _paths(before: Event | None, after: Event | None) -> set[str]:
    """Return where two events of a kind differ: `failure.message`."""
    return {".".join(map(str, change.path)) for change in value_changes((), plain(before), plain(after))}
