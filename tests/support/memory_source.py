"""A Source of what an engine in memory has folded: the events, the commands as records, and the definitions."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from halter.client.history import Lives
from halter.history.logged import Logged
from halter.history.source import Place, definitions_at
from halter.scenarios.definitions import DefinitionsInMemory
from halter.scenarios.files import read_file
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import run
from processors.codec import Codec
from processors.core.records.events import Definition
from processors.core.rules.context import Context
from processors.core.rules.versions import RULES
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import InputRecord, key_of

CODEC = Codec.load()


class MemorySource:
    """What one engine in memory has."""

    where = "in memory"
    partitions = 1
    codec = CODEC

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.limits = engine.context.limits
        self._records = {
            (cause.topic, cause.partition, cause.offset): InputRecord(
                cause.topic,
                cause.partition,
                cause.offset,
                entries[0].time_ms,
                key_of(command).encode(),
                CODEC.encode(command),
                (("trace", b"abc"),),
            )
            for command, entries in engine.log
            for cause in {entries[0].cause}
        }

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        if wf_run_id not in self.engine.runs:
            return
        log = [entry for _, entries in self.engine.log for entry in entries]
        its = [Logged(offset, entry, RULES) for offset, entry in enumerate(log) if entry.wf_run_id == wf_run_id]
        seen = Lives()
        for logged in its:
            seen.see(logged.entry)
        yield from its[0 if previous else seen.last :]

    def wf_run_ids(self) -> Iterator[str]:
        return iter(self.engine.runs)

    def definitions(self, position: int | None = None) -> Definitions:
        return definitions_at(self.definition_records(), position)

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        definitions = self.engine.context.definitions
        assert isinstance(definitions, Definitions)
        return enumerate(definitions.all())

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        return self._records.get((topic, partition, offset))

    def records(self, places: Iterable[Place]) -> dict[Place, InputRecord]:
        return {place: self._records[place] for place in places if place in self._records}


class OnTopic(DefinitionsInMemory):
    """Definitions with the records that `definitions` would have."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[int, Definition]] = []

    def apply(self, definition: Definition) -> None:
        self.records.append((self.position, definition))
        super().apply(definition)


class SourceOnTopic(MemorySource):
    """What an engine in memory has, with definitions in the order in which they were registered."""

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        definitions = self.engine.context.definitions
        assert isinstance(definitions, OnTopic)
        return iter(definitions.records)


def source_of(document: Path) -> SourceOnTopic | None:
    """Return what a scenario document leaves behind; None if its definitions are to be refused."""
    scenario = read_file(document).scenario
    assert scenario is not None, document
    if scenario.definitions_rejected is not None:
        return None
    definitions = OnTopic()
    assert not definitions.register(scenario.definitions)
    engine = MemoryEngine(Context(definitions, scenario.limits), scenario.start_ms)
    verdict = run(scenario, engine, definitions)
    assert verdict.ok, verdict.problem
    return SourceOnTopic(engine)
