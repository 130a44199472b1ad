"""The rows of a partition on disk, for state beyond memory: RocksDB, by the extra `halter-kafka[rocksdb]`.

The files are a copy that saves time (docs/adr/0007); Kafka has the truth. They hold rows that Kafka has committed, the
timers that follow from them, the ids of WfRuns in quarantine, and a *checkpoint*: the ends of the state topics at a
moment when every row below was in the files. A store that is opened again reads the topics from its checkpoint on. Rows
are absolute, so rows that the files have beyond the checkpoint do no harm: they come again.

The files are wiped, and everything is read from Kafka, if the checkpoint cannot be trusted: another installation or
topic, a checkpoint beyond the end of a topic, a log that was cut, files that cannot be read, or a checkpoint so old
that tombstones after it may be gone.

One folder belongs to one process at a time, by a lock that ends with the process.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import structlog
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, RdictIter, WriteBatch

from processors.core.records.errors import HalterError
from processors.core.records.model import TimerKind
from processors.core.records.topic_names import (
    FOLD_POSITIONS,
    KEPT_INPUTS,
    THREAD_RUNS,
    WF_RUN_EXTERNAL_EVENTS,
    WF_RUNS,
)
from processors.fold.stores.store import Row, StatePosition
from processors.fold.timers import ArmedTimer

FORMAT: Final = 3
"""Version of the keys and values below. Files of another version are wiped."""

ROW, TIMER, META, QUARANTINED, STANDING = b"r", b"t", b"m", b"q", b"s"
"""First bytes of keys."""
CHECKPOINT, INSTALLATION, POSITION = META + b"checkpoint", META + b"installation", META + b"position"
STANDINGS: Final = META + b"standings"
"""The checkpoint up to which the files have a note of every WfRun. Whoever keeps no notes makes checkpoints beyond it.
"""
TAGS: Final = {WF_RUNS: b"", THREAD_RUNS: b"t", WF_RUN_EXTERNAL_EVENTS: b"e", KEPT_INPUTS: b"k"}
TAGS_OF_OTHERS: Final = tuple(tag for topic, tag in TAGS.items() if topic not in (WF_RUNS, WF_RUN_EXTERNAL_EVENTS))
TOPICS: Final = {tag: topic for topic, tag in TAGS.items()}

STORED_TOPICS: Final = frozenset({*TAGS, FOLD_POSITIONS})
"""The state topics whose rows are stored. The other one, `definitions`, is always read from its beginning."""

ROWS_AT_ONCE: Final = 5_000
"""Number of rows in a batch, during a load."""
NEWS_AT_MOST: Final = 100_000
"""Limit on the ids that are noted while rows are read. If there are more, all rows are looked at afterwards."""
CACHE_BYTES: Final = 64 * 1024 * 1024
"""Size of the cache for all partitions of a worker together."""
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
DAMAGED: Final = "DAMAGED"
"""Name of a file in a partition's folder, which says that the store was found to be damaged while it was used."""


class StoreUnusable(HalterError):
    """The files of a store cannot be used here. The message says what to do: take another folder, a slot."""


class StoreDamaged(HalterError):
    """The files of a store were found to be damaged while in use. Start the worker again: Kafka has everything."""


class RocksStores:
    """Makes the stores of a worker's partitions, in one folder. Raises StoreUnusable."""

    def __init__(
        self,
        folder: Path,
        installation: Mapping[str, str],
        checkpoint_age_max_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Files are of use only if `installation` is as it was. `checkpoint_age_max_s` is the time for which tombstones
        stay on the state topics for certain.
        """
        self.folder, self._installation = folder, installation
        self._age_max_s, self._now = checkpoint_age_max_s, now
        self._lock = locked(folder)
        self._cache = Cache(CACHE_BYTES)

    def __call__(self, partition: int) -> "RocksStore":
        """Open a partition's store, which must not be open."""
        return RocksStore(self.folder / str(partition), self._installation, self._age_max_s, self._now, self._cache)


def locked(folder: Path) -> IO[str]:
    """Take a folder for this process until it ends. Raises StoreUnusable if another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w", encoding="utf-8")
    except OSError as error:
        raise StoreUnusable(f"expected a folder for the store that can be written, found {folder}: {error}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreUnusable(
            f"expected the folder {folder} for this worker alone, found that another process uses it: give each worker "
            "its own slot, and each installation its own folder"
        ) from error
    return file


class RocksStore:
    """Rows in RocksDB. Implements `WfRunStore`, and `StateFiles` because it outlives the process."""

    def __init__(
        self,
        folder: Path,
        installation: Mapping[str, str],
        checkpoint_age_max_s: float,
        now: Callable[[], float] = time.time,
        cache: "Cache | None" = None,
    ) -> None:
        """Open the files, or make them. Raises StoreUnusable."""
        self._folder, self._installation = folder, {**installation, "format": str(FORMAT)}
        self._age_max_s, self._now, self._cache = checkpoint_age_max_s, now, cache
        self._log = structlog.get_logger("halter.store")
        self._batch = WriteBatch(raw_mode=True)
        self._loading = True
        self._fresh = True
        self._keeps_standings = False
        self._looked_at: set[bytes] | None = set()
        """The WfRuns among the news of the load; None if those were all."""
        self._closed = False
        self._news: set[bytes] | None = set()
        if (folder / DAMAGED).exists():
            self._remove("it was found to be damaged")
        self._db = self._opened()

    @property
    def files(self) -> "RocksStore":
        """The store itself."""
        return self

    def _opened(self) -> "Rdict":
        try:
            return self._open()
        except Exception as error:
            # rocksdict raises nothing more specific.
            if "/LOCK" in str(error):
                raise StoreUnusable(f"the store in {self._folder} is open already: {error}") from error
            self._remove(f"it cannot be opened: {error}")
        try:
            return self._open()
        except Exception as error:
            raise StoreUnusable(f"the store in {self._folder} cannot be made: {error}") from error

    def _open(self) -> "Rdict":
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_keep_log_file_num(2)
        table = BlockBasedOptions()
        if self._cache is not None:
            table.set_block_cache(self._cache)
        options.set_block_based_table_factory(table)
        self._folder.mkdir(parents=True, exist_ok=True)
        return Rdict(str(self._folder), options)

    def _remove(self, reason: str) -> None:
        self._log.warning("store_wiped", folder=str(self._folder), reason=reason)
        shutil.rmtree(self._folder, ignore_errors=True)

    # StateFiles.

    def resume(self, installation: Mapping[str, str], ends: Mapping[str, StatePosition]) -> Mapping[str, StatePosition]:
        """Return the checkpoint. If it cannot be trusted, wipe the files and return nothing."""
        installation = {**self._installation, **installation}
        checkpoint = self._believed(installation, ends)
        if checkpoint is None:
            self._db.put(INSTALLATION, json.dumps(installation, sort_keys=True).encode())
            return {}
        self._fresh = False
        return checkpoint

    def _believed(
        self, installation: Mapping[str, str], ends: Mapping[str, StatePosition]
    ) -> Mapping[str, StatePosition] | None:
        found = self._json(INSTALLATION)
        if found is None:
            if any(True for _ in self._scan(b"")):
                self.wipe("it does not say what it is of")
            return None
        if found != installation:
            other = sorted(key for key in {*found, *installation} if found.get(key) != installation.get(key))
            was, now_is = ({key: one.get(key) for key in other} for one in (found, installation))
            self.wipe(f"expected {now_is}, found files of {was}")
            return None
        noted = self._json(CHECKPOINT)
        if noted is None:
            if any(True for _ in self._scan(ROW)):
                self.wipe("it was not loaded to the end")
            return None
        age_s = self._now() - noted["time_s"]
        if not 0 <= age_s <= self._age_max_s:
            self.wipe(f"its checkpoint is {age_s:.0f} s old, and deletions stay for {self._age_max_s:.0f} s only")
            return None
        checkpoint = {topic: StatePosition(*position) for topic, position in noted["ends"].items()}
        for topic, position in checkpoint.items():
            if topic in ends and position.offset > ends[topic].offset:
                self.wipe(f"{topic} ends at {ends[topic].offset}, before the checkpoint {position.offset}")
                return None
        return checkpoint

    def wipe(self, reason: str) -> None:
        """Forget everything."""
        self._db.close()
        self._remove(reason)
        self._db = self._opened()
        self._batch = WriteBatch(raw_mode=True)
        self._fresh, self._news = True, set()

    def checkpoint(self, ends: Mapping[str, StatePosition]) -> None:
        """Note where the state topics ended. RocksDB's log keeps its order, so rows below are in the files already."""
        noted = {
            "time_s": self._now(),
            "ends": {topic: [it.offset, it.epoch] for topic, it in ends.items() if topic in STORED_TOPICS},
        }
        checkpoint = json.dumps(noted).encode()
        self._batch.put(CHECKPOINT, checkpoint)
        if self._keeps_standings:
            self._batch.put(STANDINGS, checkpoint)
        self._write()

    def close(self) -> None:
        """Close the files. They have nothing that was not committed, so one who cannot close them ends all the same."""
        if not self._closed:
            self._closed = True
            try:
                self._db.close()
            except Exception as error:  # noqa: BLE001  rocksdict raises nothing more specific
                self._log.warning("store_not_closed", folder=str(self._folder), reason=str(error))

    # WfRunStore.

    def put(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take the latest row of a key; None if the row is gone."""
        if topic == FOLD_POSITIONS:
            own = POSITION
        else:
            own = row_key(topic, key)
            if self._loading and self._news is not None:
                self._news.add(key.partition(b"/")[0])
                if len(self._news) > NEWS_AT_MOST:
                    self._news = None
        if value is None:
            self._batch.delete(own)
        else:
            self._batch.put(own, value)
        # All that a load reads is committed.
        if self._loading and self._batch.len() >= ROWS_AT_ONCE:
            self._write()

    def rows(self, wf_run_id: str, *, external_events: bool = True) -> list[Row]:
        """Return the rows of a WfRun. Raises StoreDamaged."""
        if "/" in wf_run_id:
            return []  # as a prefix of keys it would look like a WfRun and the tag of a topic
        key = wf_run_id.encode()
        prefix = ROW + key + b"/"
        if external_events:
            return [row for _, row in self._rows(prefix)]
        own = self.row(WF_RUNS, key)
        rows = [] if own is None else [Row(WF_RUNS, key, own)]
        for tag in TAGS_OF_OTHERS:
            rows += (row for _, row in self._rows(prefix + tag))
        return rows

    def row(self, topic: str, key: bytes) -> bytes | None:
        """Return one row of a WfRun. Raises StoreDamaged."""
        return self._get(row_key(topic, key))

    def _rows(self, prefix: bytes) -> Iterator[tuple[bytes, Row]]:
        """Yield WfRun ids and rows, in the order of ids."""
        for own, value in self._scan(prefix):
            wf_run_id, _, tagged = own[1:].partition(b"/")
            rest = tagged[1:]
            key = wf_run_id + b"/" + rest if tagged else wf_run_id
            yield wf_run_id, Row(TOPICS[tagged[:1]], key, value)

    def _scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        iterator: RdictIter = self._db.iter()
        iterator.seek(prefix)
        while iterator.valid():
            key = iterator.key()
            if not key.startswith(prefix):
                return
            yield key, iterator.value()
            iterator.next()
        try:
            iterator.status()
        except Exception as error:
            raise self._damaged(error) from error

    def position(self) -> bytes | None:
        """Return the row that says how far the partition is folded."""
        return self._get(POSITION)

    def news(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield the WfRuns whose rows came since the checkpoint. Rows that are put later belong to turns."""
        self._loading = False
        self._write()
        news, self._news = self._news, None
        if self._keeps_standings and self._get(STANDINGS) != self._get(CHECKPOINT):
            news = None
        self._looked_at = None if self._fresh else news
        if self._looked_at is None and self._keeps_standings:
            for key, _ in self._scan(STANDING):  # each WfRun that is still there gets a new one
                self._batch.delete(key)
        if news is None or self._fresh:
            yield from self._all()
        else:
            for wf_run_id in sorted(news):
                yield wf_run_id.decode(), self.rows(wf_run_id.decode())

    def _all(self) -> Iterator[tuple[str, list[Row]]]:
        rows: list[Row] = []
        last: bytes | None = None
        for wf_run_id, row in self._rows(ROW):
            if wf_run_id != last:
                if last is not None:
                    yield last.decode(), rows
                last, rows = wf_run_id, []
            rows.append(row)
        if last is not None:
            yield last.decode(), rows

    def wf_run_ids(self) -> Iterator[str]:
        """Return the ids of all WfRuns that have rows."""
        return (wf_run_id for wf_run_id, _ in self._all())

    def timers(self) -> Iterable[ArmedTimer]:
        """Yield the timers that were noted and committed."""
        for key, _ in self._scan(TIMER):
            due_ms, wf_run_id, thread, position, kind, incarnation = json.loads(key[1:])
            yield ArmedTimer(due_ms, wf_run_id, thread, position, TimerKind(kind), incarnation)

    def armed(self, timer: ArmedTimer) -> None:
        """Note a timer."""
        self._batch.put(timer_key(timer), b"")

    def gone(self, timer: ArmedTimer) -> None:
        """Forget a timer."""
        self._batch.delete(timer_key(timer))

    def quarantined(self) -> Iterable[str]:
        """Return the ids that were noted and committed."""
        return [key[len(QUARANTINED) :].decode() for key, _ in self._scan(QUARANTINED)]

    def quarantine(self, wf_run_id: str, *, lasts: bool) -> None:
        """Note that a WfRun is in quarantine, or no longer is."""
        key = QUARANTINED + wf_run_id.encode()
        if lasts:
            self._batch.put(key, b"")
        else:
            self._batch.delete(key)

    def keep_standings(self) -> bool:
        """Keep notes of how WfRuns stand from now on."""
        self._keeps_standings = True
        return True

    def standing(self, wf_run_id: str, note: bytes | None) -> None:
        """Keep a note of a WfRun with the rows that are put now."""
        key = STANDING + wf_run_id.encode()
        if note is None:
            self._batch.delete(key)
        else:
            self._batch.put(key, note)

    def standings(self) -> Iterable[tuple[str, bytes]]:
        """Yield the notes of the WfRuns that were not among the news."""
        looked_at, self._looked_at = self._looked_at, set()
        if looked_at is not None:
            for key, note in self._scan(STANDING):
                if key[1:] not in looked_at:
                    yield key[1:].decode(), note

    def committed(self) -> None:
        """Write all that was put."""
        self._write()

    def _write(self) -> None:
        if self._batch.len():
            batch, self._batch = self._batch, WriteBatch(raw_mode=True)
            try:
                self._db.write(batch)
            except Exception as error:
                raise self._damaged(error) from error

    def _json(self, key: bytes) -> Any:
        value = self._get(key)
        return None if value is None else json.loads(value)

    def _get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._damaged(error) from error
        return value

    def _damaged(self, error: Exception) -> StoreDamaged:
        with suppress(OSError):  # a disk that is full
            (self._folder / DAMAGED).touch()
        return StoreDamaged(f"the store in {self._folder} cannot be read or written any more: {error}")


def row_key(topic: str, key: bytes) -> bytes:
    """Return the key under which a row of a WfRun is kept."""
    wf_run_id, _, rest = key.partition(b"/")
    return ROW + wf_run_id + b"/" + TAGS[topic] + rest


def timer_key(timer: ArmedTimer) -> bytes:
    """Return the key under which a timer is noted."""
    return TIMER + json.dumps(timer).encode()
