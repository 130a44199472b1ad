"""Reads topics, maps each record to others, and writes those: each record has its effects once.

Bindings and sinks run on it. What a record becomes, a RecordMapping says: a pure function, which never fails.

    records           a record as it was read, those that it becomes, and the mapping between them
    messages          a record of what a consumer has read
    templates         expressions of documents, over values of a record
    dead_letters      the record that stands for one which cannot be mapped
    loop              reads, maps, writes and commits, until told to stop
    member            this process as a member of the group that shares the partitions
    starts            where a partition is read from
    writer            the transactional producer
    pending           what was read and is not committed
    looking           reads records to look at them, for dry runs
    topics            whether the topics exist
    tracing           passes trace contexts on
    figures           counts, for probes
    errors            what ends a loop
"""

from halter.transform.dead_letters import dead_letter
from halter.transform.records import Output, RecordMapping, SourceRecord, TimestampType

__all__ = ["Output", "RecordMapping", "SourceRecord", "TimestampType", "dead_letter"]
