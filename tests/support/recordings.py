"""Makes a recording of what a ShardRig folded and wrote."""

from collections.abc import Iterable, Iterator

from halter.client.history import lives
from halter.history.deciding import Deciding, Row
from halter.history.found import Report
from halter.history.logged import Logged
from halter.history.recording import InMemory, Recorded
from halter.history.source import Place, definitions_at
from halter.history.verifying import Verifying
from processors.core.records.commands import SkipRecord
from processors.core.records.events import Definition, LogEntry
from processors.core.records.topic_names import DEAD_LETTERS, DEFINITIONS, OPERATOR_COMMANDS, WF_EVENTS
from processors.core.rules.context import Limits
from processors.core.rules.versions import RULES
from processors.core.wf_spec.definitions import Definitions
from processors.fold.inputs import InputRecord
from tests.support.released import ReleasedRun
from tests.support.shard_rig import ShardRig


def recorded(
    rig: ShardRig, begins: dict[str, int] | None = None, log_begins: int = 0, log: list[Recorded] | None = None
) -> InMemory:
    """Return the recording of a rig.

    `begins`: topic -> the first offset of which the input is still there. `log_begins`: the first offset of the log.
    """
    definitions = [it for it in rig.outputs if it.topic == DEFINITIONS]
    buried = []
    for letter in (it for it in rig.outputs if it.topic == DEAD_LETTERS):
        headers = {name: data.decode() for name, data in letter.headers if name.startswith("halter.")}
        buried.append((headers["halter.topic"], int(headers["halter.offset"])))
    skips = [it for it in rig.inputs if it.topic == OPERATOR_COMMANDS]
    coming: dict[int, list[InputRecord]] = {}
    for record in skips:
        command = rig.shard.read(record).decoded
        if isinstance(command, SkipRecord) and command.topic == OPERATOR_COMMANDS:
            coming.setdefault(command.offset, []).append(record)
    whole = log if log is not None else log_of(rig)
    gone = begins or {}
    return InMemory(
        0,
        1,
        whole[log_begins:],
        [it for it in rig.inputs if it.offset >= gone.get(it.topic, 0)],
        [(offset, Row(it.key or b"", it.value)) for offset, it in enumerate(definitions)],
        buried,
        coming,
        gone,
        is_cut=log_begins > 0,
    )


def log_of(rig: ShardRig) -> list[Recorded]:
    """Return the log of a rig."""
    return [Recorded(offset, key, value or b"", RULES) for offset, (key, value) in enumerate(rig.log_records)]


def verified(recording: InMemory, rig: ShardRig, limits: Limits | None = None) -> Report:
    """Verify a recording of a rig."""
    deciding = Deciding(recording.partition, recording.partitions, rig.codec, limits)
    return Verifying(recording, deciding, rig.codec).run()


def with_another_byte(record: Recorded, at: int) -> Recorded:
    """Return a record with one bit of one byte of its value changed."""
    value = bytearray(record.value)
    value[at % len(value)] ^= 1
    return record._replace(value=bytes(value))


def of_release(run: ReleasedRun, rules: int | None = None) -> InMemory:
    """Return the recording of a scenario that a release ran. Its log names these rules; a release named none."""
    outputs = [it for turn in run.turns for it in turn.outputs]
    log = [it for it in outputs if it.topic == WF_EVENTS]
    return InMemory(
        0,
        1,
        [Recorded(offset, it.key or b"", it.value or b"", rules) for offset, it in enumerate(log)],
        [it for turn in run.turns for it in turn.inputs],
        [
            (offset, Row(it.key or b"", it.value))
            for offset, it in enumerate(it for it in outputs if it.topic == DEFINITIONS)
        ],
    )


class RigSource:
    """A Source of what a rig has folded."""

    where = "in a rig"
    partitions = 1
    limits = Limits()

    def __init__(self, rig: ShardRig, rules: int | None = RULES) -> None:
        """`rules` is the version that its log names."""
        self.codec = rig.codec
        self._rig = rig
        self._log = [
            Logged(offset, entry, rules)
            for offset, (_, value) in enumerate(rig.log_records)
            if isinstance(entry := rig.codec.decode(value or b""), LogEntry)
        ]
        self._records = {(it.topic, it.partition, it.offset): it for it in rig.inputs}

    def events(self, wf_run_id: str, *, previous: bool = False) -> Iterator[Logged]:
        its = [it for it in self._log if it.entry.wf_run_id == wf_run_id]
        starts = [begin for begin, end in lives([it.entry for it in its]) if begin < end]
        yield from its if previous or not its else its[starts[-1] :]

    def wf_run_ids(self) -> Iterator[str]:
        ids = dict.fromkeys(it.entry.wf_run_id for it in self._log)
        return (it for it in ids if "/" not in it)

    def definitions(self, position: int | None = None) -> Definitions:
        return definitions_at(self.definition_records(), position)

    def definition_records(self) -> Iterator[tuple[int, Definition]]:
        written = [it for it in self._rig.outputs if it.topic == DEFINITIONS]
        for offset, it in enumerate(written):
            definition = self.codec.decode(it.value or b"")
            assert isinstance(definition, Definition)
            yield offset, definition

    def record(self, topic: str, partition: int, offset: int) -> InputRecord | None:
        return self._records.get((topic, partition, offset))

    def records(self, places: Iterable[Place]) -> dict[Place, InputRecord]:
        return {place: self._records[place] for place in places if place in self._records}
