"""The ExternalEvents of a WfRun by their keys, each decoded when somebody asks for it.

A WfRun remembers the settled ExternalEvents of a day, to refuse repeats (SEMANTICS 7): thousands where heartbeats come.
A repeat is known by its key, so a WfRun that rests and comes back needs the keys only.
"""

from collections.abc import Callable, ItemsView, Iterable, ValuesView
from typing import Any, Final, TypeAlias, cast

from processors.core.model import ExternalEventKey, WfRunExternalEvent

_UNREAD: Final = cast("WfRunExternalEvent", None)
_Items: TypeAlias = ItemsView[ExternalEventKey, WfRunExternalEvent]


class Remembered(dict[ExternalEventKey, WfRunExternalEvent]):
    """A dict in whose place of an ExternalEvent that nobody asked for is nothing yet. In the order of arrival."""

    def __init__(
        self, keys: Iterable[ExternalEventKey], read: Callable[[ExternalEventKey], WfRunExternalEvent]
    ) -> None:
        """`read` gets one of them from its row, as it is after the last turn."""
        super().__init__(dict.fromkeys(keys, _UNREAD))
        self._read = read
        self._here: dict[ExternalEventKey, None] = {}

    @property
    def here(self) -> int:
        """How many are decoded, or were and are forgotten since."""
        return len(self._here)

    def forget(self) -> None:
        """Keep the keys alone. Between turns only: rows are read as they are after the last."""
        for key in self._here:
            if key in self:
                super().__setitem__(key, _UNREAD)
        self._here.clear()

    def __setitem__(self, key: ExternalEventKey, event: WfRunExternalEvent) -> None:
        self._here[key] = None
        super().__setitem__(key, event)

    def __getitem__(self, key: ExternalEventKey) -> WfRunExternalEvent:
        event = super().__getitem__(key)
        if event is _UNREAD:
            event = self[key] = self._read(key)
        return event

    def get(self, key: ExternalEventKey, default: Any = None) -> Any:
        """Return one of them."""
        try:
            return self[key]
        except KeyError:
            return default

    def pop(self, key: ExternalEventKey, *default: Any) -> Any:
        """Take one of them away and return it."""
        if key not in self:
            return super().pop(key, *default)
        event = self[key]
        del self[key]
        return event

    def values(self) -> ValuesView[WfRunExternalEvent]:  # type: ignore[override]
        """Decode and return all of them."""
        self._read_all()
        return super().values()

    def items(self) -> _Items:  # type: ignore[override]
        """Decode and return all of them."""
        self._read_all()
        return super().items()

    def __eq__(self, other: object) -> bool:
        self._read_all()
        return super().__eq__(other)

    __hash__ = None

    def _read_all(self) -> None:
        for key, event in super().items():
            if event is _UNREAD:
                # The dict keeps its size: a value takes the place of nothing.
                self[key] = self._read(key)
