"""The metrics of a worker: what its snapshot, its measures and the censuses of its partitions say.

Everything is read in the thread that answers probes. Nobody else waits for it: those who fold and commit keep the
numbers up to date, and none of them is found by looking at WfRuns.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from processors.core.records.failures import HAPPENING
from processors.core.records.model import HALT_REASON_KINDS, Status, TaskStatus, TimerKind
from processors.fold.census import Census
from processors.fold.inputs import DeadLetterReason
from processors.fold.tally import BUSINESS, Key, Tally
from processors.runtime.group.readiness import Snapshot
from processors.runtime.turn.measures import Measures
from processors.worker.exposition import Exposition, Values
from processors.worker.metric_table import WORKER

_FROM_THE_START: Final[Mapping[str, Mapping[Key, int]]] = {
    "dead_letters": {(reason,): 0 for reason in DeadLetterReason},
    "attempts_ended": {
        **{(status, "no"): 0 for status in TaskStatus},
        **{(status, "yes"): 0 for status in TaskStatus if status is not TaskStatus.SUCCESS},
    },
    "failures": {(name,): 0 for name in (*sorted(HAPPENING), BUSINESS)},
}
"""Counts that are exposed as 0 until something is counted: Prometheus does not see the first increase of a series that
was not there. The others have too many labels, or labels that users choose.
"""


class Metrics:
    """The metrics of one worker."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        measures: Measures,
        tally: Tally,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._snapshot, self._now_s = snapshot, now_s
        self.measures, self.tally = measures, tally
        self.censuses: Callable[[], Mapping[int, Census]] = dict
        """The census of each partition. Put here when the worker's folds are made, which is after the first probes."""
        self.store: Path | None = None
        """The folder of the worker's store, if it has files, put here likewise."""
        self._exposition = Exposition(WORKER, self._fill)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return self._exposition.text()

    def _fill(self, values: Values) -> None:
        snapshot = self._snapshot()
        self._fill_partitions(values, snapshot)
        self._fill_turns(values, snapshot.shards)
        censuses = self.censuses()
        # A partition that is taken, or still restored, does not count: somebody else may have it.
        self._fill_wf_runs(values, [census for number, census in censuses.items() if number in snapshot.shards])
        self._fill_counts(values)
        if self.store is not None:
            fill_store(values, self.store, snapshot.shards)

    @staticmethod
    def _fill_partitions(values: Values, snapshot: Snapshot) -> None:
        restoring, paused, quarantined = dict(snapshot.restoring), dict(snapshot.paused), dict(snapshot.quarantined)
        values.set("halter_ready", int(snapshot.ready))
        for number in sorted({*snapshot.shards, *restoring, *paused}):
            values.set("halter_partition_paused", int(number in paused), number)
            values.set("halter_partition_restoring", int(number in restoring), number)
            values.set("halter_partition_restored_ratio", restoring.get(number, 1.0), number)
        for number in snapshot.shards:
            values.set("halter_quarantined_wf_runs", quarantined.get(number, 0), number)

    def _fill_turns(self, values: Values, shards: tuple[int, ...]) -> None:
        measures, figures = self.measures, self.measures.figures
        for topic, count in dict(measures.records).items():
            values.set("halter_records_total", count, topic)
        for (topic, number), offsets in measures.lag(shards).items():
            values.set("halter_lag_offsets", offsets, topic, number)
        for number, seconds in measures.oldest_seconds(shards).items():
            values.set("halter_oldest_unfolded_record_age_seconds", seconds, number)
        values.observed("halter_load_seconds", measures.load_seconds)
        values.observed("halter_turn_seconds", measures.turn_seconds)
        values.observed("halter_fold_seconds", measures.fold_seconds)
        values.observed("halter_commit_seconds", measures.commit_seconds)
        values.set("halter_output_records_total", figures.outputs)
        values.set("halter_timers_fired_total", figures.timers)
        values.set("halter_aborted_turns_total", figures.aborts)
        values.set("halter_pauses_total", figures.pauses)

    def _fill_wf_runs(self, values: Values, censuses: Iterable[Census]) -> None:
        stand: Counter[tuple[str, Status]] = Counter()
        timers: Counter[str] = Counter(dict.fromkeys(TimerKind, 0))
        held: Counter[str] = Counter()
        oldest: dict[str, int] = {}
        for census in censuses:
            for (wf_spec, status), count in census.wf_runs().items():
                stand[self.tally.wf_specs.label(wf_spec), status] += count
            timers.update({str(kind): count for kind, count in dict(census.armed).items()})
            for kind, (count, since_ms) in census.held().items():
                held[kind] += count
                oldest[kind] = min(since_ms, oldest.get(kind, since_ms))
        for (wf_spec, status), count in stand.items():
            values.set("halter_wf_runs", count, wf_spec, status)
        for kind, count in timers.items():
            values.set("halter_armed_timers", count, kind)
        now_s = self._now_s()
        for kind in HALT_REASON_KINDS.values():
            values.set("halter_held_threads", held[kind], kind)
            seconds = max(0.0, now_s - oldest[kind] / 1_000) if kind in oldest else 0.0
            values.set("halter_oldest_hold_age_seconds", seconds, kind)

    def _fill_counts(self, values: Values) -> None:
        for what, name in (
            ("started", "halter_wf_runs_started_total"),
            ("ended", "halter_wf_runs_ended_total"),
            ("failures", "halter_thread_failures_total"),
            ("rejections", "halter_rejections_total"),
            ("ignored", "halter_ignored_total"),
            ("dead_letters", "halter_dead_letters_total"),
            ("attempts", "halter_task_attempts_requested_total"),
            ("attempts_ended", "halter_task_attempts_ended_total"),
        ):
            for labels, count in {**_FROM_THE_START.get(what, {}), **self.tally.of(what)}.items():
                values.set(name, count, *labels)


def fill_store(values: Values, folder: Path, shards: Iterable[int]) -> None:
    """Give the sizes of a store's files. Files come and go meanwhile: those that are gone have no size."""
    for number in shards:
        size = 0
        with suppress(OSError):
            for file in os.scandir(folder / str(number)):
                with suppress(OSError):
                    size += file.stat().st_size
        values.set("halter_store_bytes", size, number)
    with suppress(OSError):
        values.set("halter_store_free_bytes", shutil.disk_usage(folder).free)
