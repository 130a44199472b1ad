"""Reads the rows of a partition so that those of each WfRun are of one moment, and says of which.

A transaction writes the rows of a partition with its FoldPosition, but it does not become visible in all topics at the
same moment. So this reads in rounds, as `halter.client.wf_run_rows` does for one WfRun: a round reads everything that
any of the topics had when the round before was over. A WfRun of which two rounds bring no news is settled: its rows are
those of the position that was known after the first of the two. Most are settled after three rounds. Those that are
written all the time are settled in a gap between two writes.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Final

from halter.client.client import Client
from halter.client.log_records import decoded
from halter.client.reading import SideBySide
from halter.view.state import SizedRecord
from processors.core.records.errors import HalterError
from processors.core.records.fold_position import FoldPosition
from processors.core.records.topic_names import SHARD_STATE
from processors.fold.rows import RowRecord

SECONDS_MAX: Final = 60.0
"""How long WfRuns may be written so often that their rows are never seen at one moment."""
Rows = dict[tuple[str, bytes], bytes]


class TooBusy(HalterError):
    """Rows were written all the time while they were read. Whoever asked tries again."""


class NoRoom(HalterError):
    """The rows of a partition do not fit on the disk that is for temporary files. Whoever asked makes room there."""


TABLES: Final = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -65536;
    CREATE TABLE wf_runs (id TEXT PRIMARY KEY, news INTEGER, position INTEGER) WITHOUT ROWID;
    CREATE INDEX unsettled ON wf_runs (news) WHERE position IS NULL;
    CREATE INDEX settled ON wf_runs (position) WHERE position IS NOT NULL;
    CREATE TABLE rows (wf_run_id TEXT, topic TEXT, key BLOB, value BLOB);
    CREATE INDEX rows_of ON rows (wf_run_id);
"""
"""`news`: the last round that brought a row of a WfRun. `position`: the number of the position that its rows are of."""


class SettledRows:
    """The rows of WfRuns, as rounds of reading bring them. They are on disk: a partition may have more than memory."""

    def __init__(self) -> None:
        self.position: bytes | None = None
        """The position of the fold, as far as it was read."""
        self._round = 0
        self._positions: list[bytes | None] = []
        # A file that SQLite makes where there is room for temporary ones, and that is gone with the connection.
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.executescript(TABLES)

    def close(self) -> None:
        """Let go of the rows."""
        self._rows.close()

    def take(self, rows: Iterable[tuple[str, bytes, bytes | None]]) -> None:
        """Take rows, in their order: topic, key and value. Raises NoRoom.

        What comes of a settled WfRun is behind its position, and on the log.
        """
        named = [(_wf_run_id(key), topic, key, value) for topic, key, value in rows]
        news = [(it, self._round) for it in dict.fromkeys(it for it, *_ in named)]
        with self._writing():
            self._rows.executemany(
                "INSERT INTO wf_runs (id, news) VALUES (?, ?) "
                "ON CONFLICT (id) DO UPDATE SET news = excluded.news WHERE position IS NULL",
                news,
            )
            self._rows.executemany(
                "INSERT INTO rows SELECT ?1, ?2, ?3, ?4 "
                "WHERE NOT EXISTS (SELECT 1 FROM wf_runs WHERE id = ?1 AND position IS NOT NULL)",
                named,
            )

    @property
    def is_settled(self) -> bool:
        """Say whether every WfRun is settled."""
        return self._rows.execute("SELECT 1 FROM wf_runs WHERE position IS NULL LIMIT 1").fetchone() is None

    def end_round(self, position: bytes | None) -> None:
        """Settle the WfRuns of which this round and the one before brought no news: `position` was known between."""
        self._settle(position, self._round - 2)
        self._round += 1

    def end(self, position: bytes | None) -> None:
        """Settle all WfRuns that are not settled yet: nothing is written any more."""
        self._settle(position, self._round)

    def _settle(self, position: bytes | None, last_news: int) -> None:
        """Settle the WfRuns of which no later round brought news."""
        with self._writing():
            settled = self._rows.execute(
                "UPDATE wf_runs SET position = ? WHERE position IS NULL AND news <= ?",
                (len(self._positions), last_news),
            )
        if settled.rowcount:
            self._positions.append(position)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._rows.execute("BEGIN")
            yield
            self._rows.execute("COMMIT")
        except sqlite3.Error as error:
            raise NoRoom(
                f"the rows of a partition cannot be kept in a temporary file while a view is filled ({error}): make "
                "room, or name another folder for temporary files (TMPDIR)"
            ) from error

    def positions(self) -> list[bytes | None]:
        """Return the positions of which there are rows, oldest first."""
        return list(self._positions)

    def rows_at(self, number: int) -> Iterator[tuple[str, Rows]]:
        """Yield the WfRuns whose rows are of a position, given by its number among the positions, with these rows."""
        found = self._rows.execute(
            "SELECT wf_run_id, topic, key, value FROM wf_runs JOIN rows ON wf_run_id = id "
            "WHERE position = ? ORDER BY id, rows.rowid",
            (number,),
        )
        for wf_run_id, of_one in groupby(found, key=itemgetter(0)):
            rows: Rows = {}
            for _, topic, key, value in of_one:
                if value is None:
                    rows.pop((topic, key), None)
                else:
                    rows[topic, key] = value
            yield wf_run_id, rows


def _wf_run_id(key: bytes) -> str:
    return key.partition(b"/")[0].decode(errors="backslashreplace")


@contextmanager
def settled_rows(client: Client, partition: int, stopped: Callable[[], bool] = lambda: False) -> Iterator[SettledRows]:
    """Give the rows of all WfRuns of a partition, those of each at one moment. Raises TooBusy and NoRoom.

    They are not complete once `stopped` returns True.
    """
    settled = SettledRows()
    try:
        _read_all(client, partition, settled, stopped)
        yield settled
    finally:
        settled.close()


def _read_all(client: Client, partition: int, settled: SettledRows, stopped: Callable[[], bool]) -> None:
    topics = [client.topics.prefix + topic for topic in SHARD_STATE]
    deadline: float | None = None
    with client.reader.side_by_side(topics, partition) as side_by_side:
        ends = side_by_side.ends()
        _read(side_by_side, ends, settled, client.topics.fold_positions, stopped)
        settled.end_round(None)
        while not settled.is_settled and not stopped():
            before, position, ends = ends, settled.position, side_by_side.ends()
            if side_by_side.has_read(ends) or not side_by_side.has_read(before):
                settled.end(position)
            else:
                _read(side_by_side, ends, settled, client.topics.fold_positions, stopped)
                settled.end_round(position)
            deadline = time.monotonic() + SECONDS_MAX if deadline is None else deadline
            if time.monotonic() > deadline and not settled.is_settled:
                raise TooBusy(
                    f"partition {partition}: the rows of some WfRuns were written again and again for "
                    f"{SECONDS_MAX:.0f} s, and were never seen at one moment; try again"
                )


def records_of(client: Client, rows: Rows) -> list[SizedRecord]:
    """Return the records in the rows of a WfRun, each with the number of its bytes. Raises LaterRelease."""
    records = []
    for place, value in rows.items():
        record = decoded(client.codec, value, "row", partial(_named, place))
        assert isinstance(record, RowRecord)
        records.append((record, len(value)))
    return records


def _named(place: tuple[str, bytes]) -> str:
    topic, key = place
    return f"{topic}, key {key.decode(errors='backslashreplace')}"


def _read(
    side_by_side: SideBySide, ends: dict[str, int], settled: SettledRows, positions: str, stopped: Callable[[], bool]
) -> None:
    for messages in side_by_side.read_to(ends):
        if stopped():
            return
        rows: list[tuple[str, bytes, bytes | None]] = []
        for message in messages:
            if message.topic() == positions:
                settled.position = message.value()
            else:
                rows.append((message.topic() or "", message.key() or b"", message.value()))
        settled.take(rows)


def position_of(client: Client, value: bytes | None, partition: int) -> FoldPosition:
    """Return the position that a row of `fold-positions` says."""
    if value is None:
        return FoldPosition(partition)
    position = decoded(client.codec, value, "FoldPosition", lambda: f"{client.topics.fold_positions}, key {partition}")
    assert isinstance(position, FoldPosition)
    return position
