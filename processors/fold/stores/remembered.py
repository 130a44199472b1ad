"""The ExternalEvents of a WfRun by their keys, each decoded on first use.

A WfRun remembers the ids of ExternalEvents that were taken or dropped, to refuse repeats: each for at least a day after
it was posted. With heartbeats these are thousands. A repeat is known by its key, so a WfRun that rests and comes back
needs only the keys.
"""

from collections.abc import Callable, ItemsView, Iterable, Iterator, ValuesView
from typing import Any, Final, Self, TypeAlias, cast

from processors.core.records.model import ExternalEventKey, WfRunExternalEvent

_UNREAD: Final = cast("WfRunExternalEvent", None)
_Items: TypeAlias = ItemsView[ExternalEventKey, WfRunExternalEvent]


class Remembered(dict[ExternalEventKey, WfRunExternalEvent]):
    """A dict of ExternalEvents in the order of arrival, in which an event that nobody asked for has no value yet.

    It is a dict because WfRun, whose class may be compiled, has one. A missing value is never seen: every access to a
    value is overridden, and a copy is a plain dict with all values.
    """

    def __init__(
        self, keys: Iterable[ExternalEventKey], read: Callable[[ExternalEventKey], WfRunExternalEvent]
    ) -> None:
        """`read` decodes one ExternalEvent from its row, as it is after the last turn."""
        super().__init__(dict.fromkeys(keys, _UNREAD))
        self._read = read
        self._here: dict[ExternalEventKey, None] = {}

    @property
    def here(self) -> int:
        """The number of ExternalEvents that are decoded."""
        return len(self._here)

    def forget(self) -> None:
        """Drop the values and keep the keys. Only between turns, because rows are read as of the last turn."""
        for key in self._here:
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

    def __delitem__(self, key: ExternalEventKey) -> None:
        super().__delitem__(key)
        self._here.pop(key, None)

    def __iter__(self) -> Iterator[ExternalEventKey]:
        # Because of this override, dict() copies by asking for keys and values, not from memory to memory.
        return super().__iter__()

    def get(self, key: ExternalEventKey, default: Any = None) -> Any:
        """Return one ExternalEvent."""
        try:
            return self[key]
        except KeyError:
            return default

    def pop(self, key: ExternalEventKey, *default: Any) -> Any:
        """Remove one ExternalEvent and return it."""
        if key not in self:
            return super().pop(key, *default)
        event = self[key]
        del self[key]
        return event

    def values(self) -> ValuesView[WfRunExternalEvent]:  # type: ignore[override]
        """Return all ExternalEvents, decoded."""
        self._read_all()
        return super().values()

    def items(self) -> _Items:  # type: ignore[override]
        """Return all ExternalEvents, decoded."""
        self._read_all()
        return super().items()

    def popitem(self) -> tuple[ExternalEventKey, WfRunExternalEvent]:
        """Remove the last ExternalEvent and return it."""
        key = next(reversed(self), None)
        return super().popitem() if key is None else (key, self.pop(key))

    def setdefault(self, key: ExternalEventKey, default: Any = None) -> Any:
        """Return one ExternalEvent. If there is none, put this in its place."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **_: Any) -> None:
        """Add others."""
        for key, event in dict(*others).items():
            self[key] = event

    def clear(self) -> None:
        """Remove all."""
        super().clear()
        self._here.clear()

    def copy(self) -> dict[ExternalEventKey, WfRunExternalEvent]:
        """Return a plain dict with all ExternalEvents, decoded."""
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # a dict takes pairs as well, as this does
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        return dict(self) == (dict(other) if isinstance(other, Remembered) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} ExternalEvents, {self.here} decoded)"

    def _read_all(self) -> None:
        for key, event in super().items():
            if event is _UNREAD:
                # The dict keeps its size, because the key is there already.
                self[key] = self._read(key)
