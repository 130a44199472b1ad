"""How many of what there are, counted once for each change of the view, whoever asks.

To count takes longer than all else on the first page, and every open page asks again after each change.
"""

import threading
from dataclasses import replace

from sqlalchemy import Connection

from halter.view import progress, totals
from halter.view.changes import Position, changes
from halter.view.totals import Stats


class Counted:
    """Counts, and remembers. Any thread may ask: one of them counts, and the others have what it found."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._last: tuple[object, Stats] | None = None

    def stats(self, connection: Connection) -> Stats:
        """Return how many of what there are at the moment that a connection sees."""
        key = _key(changes(connection, None)[0])
        with self._counting:
            if self._last is None or self._last[0] != key:
                self._last = key, totals.stats(connection)
            found = self._last[1]
        return replace(found, lag=progress.lag(connection))


def _key(position: Position) -> object:
    """Return what tells a view that has read on from one that has not."""
    return tuple(sorted(position.offsets.items())), tuple(sorted(position.dead_letters.items()))
