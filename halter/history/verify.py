"""Verifies the partitions of an installation, several side by side, and WfRuns of any source.

Each partition is read and decided in a process of its own, which gets what it needs as a value (`Work`).
"""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, Final, TypeVar, cast

from halter.client.client import Client
from halter.history.changed_spec import Rows, changed
from halter.history.deciding import Decider, Deciding
from halter.history.found import KeyReport, Report
from halter.history.other_rules import OtherRules
from halter.history.recorded_in_kafka import RecordedInKafka
from halter.history.recording import Recording
from halter.history.verifying import Verifying
from halter.history.verifying_keys import KeysRecording, VerifyingKeys
from processors.codec import Codec
from processors.core.records.commands import DefinitionCommand
from processors.core.records.errors import HalterError
from processors.core.rules.context import Limits
from processors.kafka.properties import REGISTRY_PREFIX
from processors.kafka.settings import Settings

AnyRecording = TypeVar("AnyRecording", bound=Recording)
LOOK_SECONDS: Final = 0.1
Told = Callable[[int], None]
"""Is told how many entries of the log were read since the last time."""


class NotVerified(HalterError):
    """A partition could not be verified. The message says why; whoever verifies acts on it."""


@dataclass(frozen=True, slots=True)
class How:
    """How to decide again: as the log says, by default."""

    rules: Path | None = None
    """Another version of Halter."""
    changes: tuple[DefinitionCommand, ...] = ()
    """WfSpecs in place of the registered ones."""
    unnamed_rules: int | None = None
    """The version of the rules that decided events whose records name none."""


def verified(
    recording: Recording,
    codec: Codec,
    how: How = How(),
    told: Told = lambda _: None,
    limits: Limits | None = None,
    properties: dict[str, str] | None = None,
) -> Report:
    """Verify one recording. `properties` are those of a Schema Registry, for other rules."""
    recording = _changed(recording, codec, how)
    with _decider(recording, codec, how, limits, properties) as decider:
        return Verifying(recording, decider, codec, None, told, limits, how.unnamed_rules).run()


def keys_verified(
    recording: KeysRecording,
    codec: Codec,
    how: How = How(),
    limits: Limits | None = None,
    properties: dict[str, str] | None = None,
) -> KeyReport:
    """Verify the correlation keys of one recording."""
    recording = _changed(recording, codec, how)
    with _decider(recording, codec, how, limits, properties) as decider:
        return VerifyingKeys(recording, decider, codec, limits).run()


def _changed(recording: AnyRecording, codec: Codec, how: How) -> AnyRecording:
    """Return a recording with the definitions by which to decide."""
    if not how.changes:
        return recording
    return cast("AnyRecording", _Changed(recording, changed(recording.definitions(), how.changes, codec)))


@contextmanager
def _decider(
    recording: Recording, codec: Codec, how: How, limits: Limits | None, properties: dict[str, str] | None
) -> Iterator[Decider]:
    if how.rules is None:
        yield Deciding(recording.partition, recording.partitions, codec, limits)
    else:
        with closing(OtherRules(how.rules, recording.partition, recording.partitions, properties)) as other:
            yield other


class _Changed:
    """A recording with other definitions. Implements `Recording`."""

    def __init__(self, recording: Recording, definitions: Rows) -> None:
        self._recording, self._definitions = recording, definitions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recording, name)

    def definitions(self) -> Rows:
        """Return the other definitions."""
        return self._definitions


def all_verified(
    settings: Callable[[], Settings], partitions: Sequence[int], how: How, processes: int, told: Told
) -> Report:
    """Verify partitions in so many processes. `settings` is called in each of them, so it must be a function that
    pickles. Raises NotVerified.
    """
    report, problem = Report(), None
    for one in _reports(settings, partitions, how, min(processes, len(partitions)), told):
        if isinstance(one, str):
            problem = one
        else:
            report.add(one)
    if problem is not None:
        # What an error has seen is kept until the end. Python would say that semaphores leaked if it were raised where
        # those of the processes are known, or while they are still in cycles.
        gc.collect()
        raise NotVerified(problem)
    return report


def _reports(
    settings: Callable[[], Settings], partitions: Sequence[int], how: How, processes: int, told: Told
) -> Iterator[Report | str]:
    """Yield what was found in each partition. The error of one is a sentence, and the last."""
    if processes <= 1:
        for partition in partitions:
            yield _partition(settings(), partition, how, told)
        return
    context = get_context("spawn")
    progress: Queue[int] = context.Queue()
    with ProcessPoolExecutor(processes, context, _begin, (progress,)) as pool:
        waiting = {pool.submit(_in_a_process, settings, partition, how) for partition in partitions}
        while waiting:
            done, waiting = wait(waiting, LOOK_SECONDS, return_when="FIRST_COMPLETED")
            _tell(progress, told)
            for future in done:
                found = future.result()
                yield found
                if isinstance(found, str):
                    for child in active_children():  # nobody waits for the other partitions
                        child.terminate()
                    return
        _tell(progress, told)


def _tell(progress: "Queue[int]", told: Told) -> None:
    try:
        while True:
            told(progress.get_nowait())
    except Empty:
        return


_progress: "Queue[int] | None" = None
"""Where this process reports how far it is."""


def _begin(progress: "Queue[int]") -> None:
    """Prepare a process: it ends with its parent, and leaves Ctrl-C to it."""
    global _progress  # noqa: PLW0603  the initializer of a pool has no other way
    _progress = progress
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_a_process(settings: Callable[[], Settings], partition: int, how: How) -> Report | str:
    """Verify a partition. An error comes back as its sentence, because not every error can be pickled."""
    assert _progress is not None
    try:
        return _partition(settings(), partition, how, _progress.put)
    except HalterError as error:
        return str(error)


def _partition(settings: Settings, partition: int, how: How, told: Told) -> Report:
    registry = {name: value for name, value in settings.properties.items() if name.startswith(REGISTRY_PREFIX)}
    with Client.of(settings) as client:
        recording = RecordedInKafka(client, partition)
        report = verified(recording, client.codec, how, told, properties=registry)
        report.keys = keys_verified(recording, client.codec, how, properties=registry)
        return report
