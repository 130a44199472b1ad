"""Makes the dead letter of a record that cannot be mapped.

It goes to the topic `dead-letters` of the installation, as what the workers cannot take does: bytes and headers
untouched, and headers of ours that say from where and why. Two more name the binding or sink (MAPPING_HEADER) and say
which of both it is (ORIGIN_HEADER).
"""

from halter.transform.records import Output, SourceRecord
from processors.fold.inputs import InputRecord, MappingKind, letter
from processors.kafka.topics import Topics


def dead_letter(
    topics: Topics,
    mapping: str,
    record: SourceRecord,
    code: str,
    message: str,
    kind: MappingKind = MappingKind.BINDING,
) -> Output:
    """Return the dead letter of a record.

    `mapping` names the binding or sink that refuses the record, and `kind` says which of both that is. `code` is the
    kind of reason in capitals, and `message` a sentence: expected, found. A large record is cut, as the workers cut it.
    """
    whole = InputRecord(
        record.topic, record.partition, record.offset, record.timestamp_ms, record.key, record.value, record.headers
    )
    made = letter(whole, code, message, mapping, kind)
    # Without a key any partition would do. This one is the same each time.
    partition = None if record.key else record.partition % topics.partitions
    return Output(topics.dead_letters, made.key, made.value, made.headers, partition)
