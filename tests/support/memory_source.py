"""A Source of what an engine in memory has folded: the events, the commands as records, and the definitions."""

from collections.abc import Iterable, Iterator

from halter.client.history import Lives
from halter.history.logged import Logged
from halter.history.source import Place, definitions_at
from halter.scenarios.memory import MemoryEngine
from processors.codec import Codec
from processors.core.records.events import Definition
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
        entries = self.engine.log_of(wf_run_id)
        seen = Lives()
        for entry in entries:
            seen.see(entry)
        start = 0 if previous else seen.last
        yield from (Logged(number, entry) for number, entry in enumerate(entries) if number >= start)

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
