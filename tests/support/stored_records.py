"""The outputs of a shard, read as tools read them from Kafka: the client's side of a ShardRig, and commands over it."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME

from halter.cli import correlation, definitions, runs, source, spec, spec_delete
from halter.client import Client, CommandRejected, CorrelatedEventRejected, DefinitionRefused, Registered
from halter.client.asking import definition_names_of
from halter.client.ids import new_id
from halter.client.outcomes import add_hint
from halter.client.wf_run_reader import WfRunReader
from processors.core.records.commands import CorrelatedEvent, DefinitionCommand, ExternalEvent, RunWf
from processors.core.records.events import (
    CorrelationDecided,
    DefinitionAccepted,
    DefinitionRejected,
    LogEntry,
    Rejected,
)
from processors.fold.outputs import OutputRecord
from processors.kafka.topics_file import load_topics
from tests.simulation.partition_log import PartitionLog
from tests.support.shard_rig import ShardRig
from tests.support.side_by_side import LogsSideBySide


class StoredRecord:
    """A Message like confluent_kafka's, as far as tools use it."""

    def __init__(self, output: OutputRecord, offset: int) -> None:
        assert output.key is not None
        self.key = lambda: output.key
        self.value = lambda: output.value
        self.offset = lambda: offset
        self.headers = lambda: list(output.headers) or None
        self.timestamp = lambda: (TIMESTAMP_CREATE_TIME, output.timestamp_ms or 0)


class RigReader:
    """The partitions of a rig's topics. Records before `retained_from_ms` have left the log."""

    def __init__(self, rig: ShardRig) -> None:
        self._rig = rig
        self.retained_from_ms = 0
        self.partitions: list[tuple[str, int]] = []
        """The partitions that were read."""

    def read(self, topic: str, partition: int, start: int) -> Iterator[StoredRecord]:
        for records in self.batches(topic, partition, start):
            yield from records

    def batches(self, topic: str, partition: int, start: int, stop: int | None = None) -> Iterator[list[StoredRecord]]:
        self.partitions.append((topic, partition))
        stop = len(self._outputs(topic)) if stop is None else stop
        for offset, output in enumerate(self._outputs(topic)):
            retained = topic != "wf-events" or (_time_of(output)) >= self.retained_from_ms
            if start <= offset < stop and retained and output.partition == partition:
                yield [StoredRecord(output, offset)]

    @contextmanager
    def side_by_side(self, topics: Collection[str], partition: int) -> Iterator[LogsSideBySide]:
        logs = {topic: PartitionLog((topic, partition)) for topic in topics}
        for topic, log in logs.items():
            for output in self._outputs(topic):
                if output.partition == partition:
                    log.append(0, output.key, output.value)
        yield LogsSideBySide(logs)

    def offset_at(self, topic: str, _partition: int, time_ms: int) -> int:
        outputs = self._outputs(topic)
        at = (offset for offset, output in enumerate(outputs) if (_time_of(output)) >= time_ms)
        return next(at, len(outputs))

    def _outputs(self, topic: str) -> list[OutputRecord]:
        return [output for output in self._rig.outputs if output.topic == topic]


class RigClient:
    """A Client of an installation that is a rig: its posts are decided at once."""

    def __init__(self, rig: ShardRig, partitions: int = 1) -> None:
        self.rig, self.reader = rig, RigReader(rig)
        self.settings = SimpleNamespace(bootstrap="nowhere:9092", prefix="")
        self.workers = SimpleNamespace(no_worker=lambda: None)  # the rig is one
        self.topics, self.codec = load_topics(None, "", partitions), rig.codec
        self.sent: list[DefinitionCommand] = []
        self.before_put: Callable[[], None] | None = None
        """Called before each post: what another client does."""
        self.wf_runs = WfRunReader(self.reader, self.topics, rig.codec)  # type: ignore[arg-type]
        self.get = self.row = self.wf_runs.show
        self.history, self.ended = self.wf_runs.history, self.wf_runs.ended

    def definitions(self) -> Any:
        return self.rig.view._definitions

    refusals = Client.refusals
    external_event_def = Client.external_event_def

    put = Client.put

    def put_all(
        self, commands: Iterable[DefinitionCommand], _timeout_s: float = 0
    ) -> Iterator[Registered | DefinitionRefused]:
        """Put definitions, as `Client.put_all` does."""
        for command in commands:
            if self.before_put is not None:
                self.before_put()
            self.sent.append(command)
            [outcome] = [it for it in self.rig.turn(command) if isinstance(it, DefinitionAccepted | DefinitionRejected)]
            if isinstance(outcome, DefinitionRejected):
                yield DefinitionRefused(outcome)
            else:
                yield Registered(outcome, self.rig.view.position)

    def run(self, spec: str, values: Any, *, wf_run_id: str | None, major: int | None, revision: int | None) -> Any:
        return self.send(RunWf(wf_run_id or new_id(), spec, values, major, revision))

    def post(self, wf_run_id: str, name: str, content: Any, *, event_id: str | None, thread: int | None) -> Any:
        return self.send(ExternalEvent(wf_run_id, name, event_id or new_id(), content, thread))

    def post_correlated(self, key: str, name: str, content: Any, *, event_id: str | None) -> Any:
        (decided,) = (
            it
            for it in self.rig.turn(CorrelatedEvent(key, name, event_id or new_id(), content))
            if isinstance(it, CorrelationDecided)
        )

        def outcome(_timeout_s: float) -> CorrelationDecided:
            if decided.code is not None:
                rejected = CorrelatedEventRejected(decided)
                add_hint(rejected, name, "", self.definitions)
                raise rejected
            return decided

        return SimpleNamespace(outcome=outcome)

    def send(self, command: Any) -> Any:
        entries = [output for output in self.rig.turn(command) if isinstance(output, LogEntry)]

        def outcome(_timeout_s: float) -> list[LogEntry]:
            if isinstance(event := entries[0].event, Rejected):
                rejected = CommandRejected(entries[0], event)
                add_hint(rejected, *definition_names_of(command), self.definitions)
                raise rejected
            return entries

        return SimpleNamespace(
            outcome=outcome,
            until_ended=lambda _: self.ended(command.wf_run_id),
            wf_run_id=command.wf_run_id,
            id=getattr(command, "external_event_id", command.wf_run_id),
            topic="wf-commands",
            partition=0,
            offset=0,
        )


@contextmanager
def connected_to(client: Any) -> Iterator[None]:
    """Make commands use this client."""

    @contextmanager
    def connected(*_: object, **_options: object) -> Iterator[Any]:
        yield client

    with pytest.MonkeyPatch.context() as patch:
        for module in (runs, correlation, definitions, spec, spec_delete, source):
            patch.setattr(module, "connected", connected)
        yield


def printed(
    client: Any, command: Callable[..., None], *arguments: Any, capsys: pytest.CaptureFixture[str], **options: Any
) -> str:
    """Return what a command of `halter.cli` writes to stdout and stderr with this client."""
    with connected_to(client):
        command(*arguments, **options)
    out, err = capsys.readouterr()
    return str(out + err)


def _time_of(output: OutputRecord) -> int:
    assert output.timestamp_ms is not None
    return output.timestamp_ms
