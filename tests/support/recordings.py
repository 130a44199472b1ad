"""Makes a recording of what a ShardRig folded and wrote."""

from halter.history.deciding import Deciding, Row
from halter.history.found import Report
from halter.history.recording import InMemory, Recorded
from halter.history.verifying import Verifying
from processors.core.records.commands import SkipRecord
from processors.core.records.topic_names import DEAD_LETTERS, DEFINITIONS, OPERATOR_COMMANDS
from processors.core.rules.context import Limits
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
    coming = {}
    for record in skips:
        command = rig.shard.read(record).decoded
        if isinstance(command, SkipRecord) and command.topic == OPERATOR_COMMANDS:
            coming.setdefault(command.offset, record)
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
    return [Recorded(offset, key, value or b"") for offset, (key, value) in enumerate(rig.log_records)]


def verified(recording: InMemory, rig: ShardRig, limits: Limits | None = None) -> Report:
    """Verify a recording of a rig."""
    deciding = Deciding(recording.partition, recording.partitions, rig.codec, limits)
    return Verifying(recording, deciding, rig.codec).run()


def with_another_byte(record: Recorded, at: int) -> Recorded:
    """Return a record with one bit of one byte of its value changed."""
    value = bytearray(record.value)
    value[at % len(value)] ^= 1
    return record._replace(value=bytes(value))
