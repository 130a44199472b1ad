"""The tables of the view, as a person queries them. Their comments are the reference in docs/view.md.

Columns that end in `_ms` are times, milliseconds since 1970, as on the topics. Enums are stored as text, by the names
that schemas have. Knows SQLAlchemy, and nothing of Kafka. A change here needs a migration (CONTRIBUTING.md).
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata: Final = MetaData()

DATA: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON data; SQL's NULL where there are none."""
NUL: Final = "\0"
NUL_SHOWN: Final = "\N{SYMBOL FOR NULL}"
"""The one character that PostgreSQL cannot store, and what stands in its place, in SQLite too."""


class PlainText(TypeDecorator[str]):
    """Text without NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  SQLAlchemy passes it
        """Return the text as it is stored."""
        return value.replace(NUL, NUL_SHOWN) if value is not None and NUL in value else value


class SearchedText(PlainText):
    """Text of which the beginning is kept and looked for: PostgreSQL has no index of texts that are longer."""

    CHARACTERS: Final = 256
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the beginning of a text, both where it is stored and where it is looked for."""
        stored = super().process_bind_param(value, dialect)
        return None if stored is None else stored[: self.CHARACTERS]


def _ms(name: str, comment: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable, comment=comment)


def _text(name: str, comment: str, *, nullable: bool = True) -> Column[str]:
    return Column(name, PlainText, nullable=nullable, comment=comment)


def _number(name: str, comment: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable, comment=comment)


def _flag(name: str, comment: str) -> Column[int]:
    return Column(name, SmallInteger, nullable=False, default=0, server_default="0", comment=comment)


def _data(name: str, comment: str) -> Column[Any]:
    return Column(name, DATA, comment=comment)


def _key(name: str, comment: str, of: type[PlainText | BigInteger] = PlainText) -> Column[Any]:
    return Column(name, of, primary_key=True, autoincrement=False, comment=comment)


def _of_wf_run() -> Column[Any]:
    return _key("wf_run_id", "Its WfRun.")


def _of_thread() -> Column[Any]:
    return _key("thread", "The number of its ThreadRun.", BigInteger)


def _log_offset() -> Column[int]:
    return _number("log_offset", "The offset on `wf-events` of the last event about it.")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


wf_runs = Table(
    "wf_runs",
    metadata,
    _key("wf_run_id", "Its id."),
    _number("partition", "The partition in which it is folded.", nullable=False),
    _number("incarnation", "The offset of its RunWf; tells it from a deleted WfRun of the same id.", nullable=False),
    _text("wf_spec_name", "Its WfSpec. NULL: only a quarantine, nothing was started under the id."),
    _text("wf_spec_version", "The version of its WfSpec, `major.revision`."),
    _text("status", "RUNNING, HALTED, COMPLETED, ERROR or EXCEPTION. NULL as in `wf_spec_name`."),
    _number("seq", "The number of its last event. All its rows stand for the state after that event.", nullable=False),
    _ms("started_ms", "When it was started."),
    _ms("changed_ms", "The time of its last event.", nullable=False),
    _ms("ended_ms", "When it was over."),
    _text("failure_code", "The name of the failure that it ended with."),
    _text("failure_message", "The message of that failure."),
    _text("cause_code", "The name of the failure at the bottom of its chain of causes, if that is another name."),
    _flag("halted", "1: a live thread of it has a halt reason."),
    _flag("quarantined", "1: its inputs are kept and not decided."),
    _ms("quarantined_ms", "Since when it is in quarantine."),
    _text("node_name", "The node at which thread 0 is; NULL if that has left."),
    _number("live_threads", "How many of its threads have not ended.", nullable=False),
    _data("variables", "The Variables of thread 0, without masked ones."),
    _text(
        "search_text",
        "Id, WfSpec and plain values of `variables`, in lower case: the first 1,000 characters.",
        nullable=False,
    ),
    _text("forked_from", "The id of the WfRun of which it is a fork, as far as the log still says so."),
    _log_offset(),
    Index("wf_runs_by_change", "changed_ms", "wf_run_id"),
    Index("wf_runs_by_start", "started_ms", "wf_run_id"),
    Index("wf_runs_by_status", "status", "changed_ms", "wf_run_id"),
    Index("wf_runs_by_wf_spec", "wf_spec_name", "changed_ms", "wf_run_id"),
    Index("wf_runs_by_failure", "failure_code", "changed_ms", "wf_run_id", **_where("failure_code IS NOT NULL")),
    Index("wf_runs_by_cause", "cause_code", "changed_ms", "wf_run_id", **_where("cause_code IS NOT NULL")),
    Index("wf_runs_halted", "changed_ms", "wf_run_id", **_where("halted = 1")),
    Index("wf_runs_quarantined", "changed_ms", "wf_run_id", **_where("quarantined = 1")),
    comment="One row per WfRun that has not been deleted.",
)

thread_runs = Table(
    "thread_runs",
    metadata,
    _of_wf_run(),
    _key("thread", "Its number.", BigInteger),
    _text("thread_spec", "Its ThreadSpec.", nullable=False),
    _text("type", "ENTRYPOINT, CHILD, INTERRUPT or FAILURE_HANDLER.", nullable=False),
    _number("parent", "The number of its parent; NULL for thread 0."),
    _text("status", "RUNNING, HALTING, HALTED, COMPLETED, ERROR or EXCEPTION.", nullable=False),
    _text("node_name", "The node at which it is, or was last.", nullable=False),
    _number("node_position", "How many nodes it had visited before."),
    _ms("started_ms", "When it was started.", nullable=False),
    _ms("changed_ms", "The time of the last event that changed it.", nullable=False),
    _ms("ended_ms", "When it ended."),
    _text("failure_code", "The name of its failure."),
    _text("failure_message", "The message of its failure."),
    _flag("hot", "1: it has a row on the topic `thread-runs`. 0: it has left, and the log alone tells of it."),
    _data("variables", "Its own Variables, without masked ones."),
    _text("external_event_def", "INTERRUPT: the ExternalEventDef of what started it."),
    _text("external_event_id", "INTERRUPT: the id of the ExternalEvent that started it."),
    _log_offset(),
    Index("thread_runs_by_node", "thread_spec", "node_name", "status", **_where("hot = 1")),
    comment="One row per ThreadRun. Those that have left stay while the log has the event of their end.",
    sqlite_with_rowid=False,
)

halt_reasons = Table(
    "halt_reasons",
    metadata,
    _of_wf_run(),
    _of_thread(),
    _key("position", "Its place among the halt reasons of the thread, from 0.", BigInteger),
    _text(
        "kind",
        "PENDING_INTERRUPT, INTERRUPTED, PENDING_FAILURE, HANDLING_FAILURE, PARENT_HALTED, MANUAL_HALT or "
        "HALTED_BY_PARENT.",
        nullable=False,
    ),
    _text("external_event_def", "PENDING_INTERRUPT: the ExternalEventDef."),
    _text("external_event_id", "PENDING_INTERRUPT: the id of the ExternalEvent."),
    _number("handler", "INTERRUPTED, HANDLING_FAILURE: the number of the handler that runs."),
    _number("by_thread", "PARENT_HALTED, HALTED_BY_PARENT: the number of the thread that holds it."),
    _ms("since_ms", "Since when; NULL if the log does not say so any more."),
    Index("halt_reasons_by_kind", "kind", "since_ms", "wf_run_id"),
    comment="What holds a thread. One row per halt reason.",
    sqlite_with_rowid=False,
)

waits = Table(
    "waits",
    metadata,
    _of_wf_run(),
    _of_thread(),
    _key("position", "Its place among the waits of the thread, from 0.", BigInteger),
    _text("waits_for", "The kind of wait (docs/operations.md), such as EXTERNAL_EVENT or TASK_REPORT.", nullable=False),
    _text("external_event_def", "EXTERNAL_EVENT: the ExternalEventDef."),
    _text("task_def", "TASK_REPORT, TASK_RETRY: the TaskDef."),
    _number("attempt", "TASK_REPORT, TASK_RETRY: which attempt, from 1."),
    _number("attempts", "TASK_REPORT, TASK_RETRY: how many attempts there may be."),
    _text("condition", "CONDITION: the condition."),
    _data("threads", "THREADS, ROOM, CHILDREN, OTHERS, STILLNESS: the numbers of the threads that it waits for."),
    _ms("since_ms", "Since when, where that is known."),
    _ms("until_ms", "Until when, where there is a time."),
    Index("waits_by_kind", "waits_for", "since_ms", "wf_run_id"),
    Index(
        "waits_for_event", "external_event_def", "waits_for", "wf_run_id", **_where("external_event_def IS NOT NULL")
    ),
    Index("waits_for_task", "task_def", "waits_for", "wf_run_id", **_where("task_def IS NOT NULL")),
    comment="What a thread waits for. Halt reasons have a table of their own.",
    sqlite_with_rowid=False,
)

external_events = Table(
    "external_events",
    metadata,
    _of_wf_run(),
    _key("external_event_def", "Its ExternalEventDef."),
    _key("external_event_id", "Its id."),
    _text("status", "UNCLAIMED, CLAIMED, DROPPED or SUPERSEDED.", nullable=False),
    _ms("posted_ms", "When it was posted.", nullable=False),
    _number("thread", "The thread that it was addressed to, if one was named."),
    _number("claimed_by_thread", "The thread that took it last."),
    _text("purpose", "INTERRUPT or NODE: what it was taken for, as far as the log says so."),
    _number("handler", "The number of the Interrupt Handler that it started last."),
    _number("seq", "The seq of its ExternalEventPosted; 0 if it came before its WfRun.", nullable=False),
    _flag("hot", "1: its WfRun remembers it. 0: the log alone tells of it."),
    _log_offset(),
    Index("external_events_by_status", "status", "posted_ms"),
    Index("external_events_by_def", "external_event_def", "posted_ms"),
    comment="One row per ExternalEvent, without its content. Forgotten ones stay while the log has their last event.",
    sqlite_with_rowid=False,
)

tasks = Table(
    "tasks",
    metadata,
    _of_wf_run(),
    _of_thread(),
    _key("node_position", "The position of its NodeRun in the thread.", BigInteger),
    _key("attempt", "Which attempt, from 1.", BigInteger),
    _text("task_def", "Its TaskDef."),
    _text("node_name", "Its node."),
    _text("status", "OUT, SUCCESS, FAILED, EXCEPTION, TIMEOUT or CANCELLED.", nullable=False),
    _ms("requested_ms", "When it was requested, as far as the log still says so."),
    _ms("started_ms", "When a task worker began it, if one has said so."),
    _ms("until_ms", "When it times out, or would have."),
    _ms("ended_ms", "When its report came, or it timed out."),
    _text("failure_code", "The name of its failure."),
    _log_offset(),
    Index("tasks_by_status", "status", "task_def", "requested_ms"),
    Index("tasks_by_def", "task_def", "requested_ms"),
    comment="One row per attempt of a task. Those that have ended stay while the log has the event of their end.",
    sqlite_with_rowid=False,
)

failures = Table(
    "failures",
    metadata,
    _of_wf_run(),
    _key("seq", "The number of the event that tells of it.", BigInteger),
    _number("thread", "The thread that failed.", nullable=False),
    _text("node_name", "The node that failed; NULL if it is not known any more."),
    _text("code", "The name of the failure.", nullable=False),
    _text("failure_class", "ERROR or EXCEPTION.", nullable=False),
    _text("message", "Its message.", nullable=False),
    _ms("failed_ms", "When.", nullable=False),
    _text("handler", "The ThreadSpec of the failure handler; NULL if the thread failed."),
    _number("cause_thread", "The thread in which the failure below happened."),
    _text("cause_code", "The name of the failure at the bottom of the chain of causes."),
    _text("cause_message", "The message of that failure."),
    _log_offset(),
    Index("failures_by_code", "code", "failed_ms"),
    Index("failures_by_time", "failed_ms"),
    comment="One row per failure of a node or a thread, while the log has its event.",
    sqlite_with_rowid=False,
)

correlation_keys = Table(
    "correlation_keys",
    metadata,
    _of_wf_run(),
    _key("external_event_def", "The ExternalEventDef whose events find the WfRun by the key."),
    _text("correlation_key", "The key; NULL if its value cannot be one."),
    _text("problem", "Why its value cannot be a key."),
    Index("correlation_keys_by_key", "correlation_key", "external_event_def"),
    comment="The correlation keys that WfRuns have now.",
    sqlite_with_rowid=False,
)

searchable = Table(
    "searchable",
    metadata,
    _of_wf_run(),
    _key("name", "The name of the Variable."),
    Column(
        "text_value",
        SearchedText,
        comment="The first 256 characters of its value as text; of a BOOL `true` or `false`, of JSON the JSON.",
    ),
    Column("number_value", Float(53), comment="Its value as a number, if it is one."),
    Index("searchable_by_text", "name", "text_value", "wf_run_id"),
    Index("searchable_by_number", "name", "number_value", "wf_run_id", **_where("number_value IS NOT NULL")),
    comment="Values of the Variables of thread 0 that the WfSpec marks `searchable`.",
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _key("partition", "Its partition on `dead-letters`.", BigInteger),
    _key("letter_offset", "Its offset there.", BigInteger),
    _text("reason", "The reason, such as UNKNOWN_SCHEMA or WRONG_PARTITION.", nullable=False),
    _text("message", "The reason in a sentence.", nullable=False),
    _text("source_topic", "The topic of the record.", nullable=False),
    _number("source_partition", "The partition of the record."),
    _number("source_offset", "The offset of the record."),
    _text("wf_run_id", "The WfRun that it was for, if it can be told."),
    _ms("at_ms", "When it became a dead letter.", nullable=False),
    Column(
        "origin", PlainText, nullable=False, server_default="WORKER", comment="Who wrote it: WORKER, BINDING or SINK."
    ),
    _text("mapping", "The name of the binding or the sink; NULL: a worker wrote it."),
    _number("retries", "How often it was retried.", nullable=False),
    _text("last_outcome", "The place of the record that the last retry sent, and who retried."),
    Index("dead_letters_by_time", "at_ms"),
    Index("dead_letters_by_reason", "reason", "at_ms"),
    Index("dead_letters_by_origin", "origin", "at_ms"),
    comment="One row per record of `dead-letters`, without its bytes, while the topic has it.",
    sqlite_with_rowid=False,
)

definitions = Table(
    "definitions",
    metadata,
    _key("kind", "WF_SPEC, TASK_DEF, EXTERNAL_EVENT_DEF or WORKFLOW_EVENT_DEF."),
    _key("name", "Its name."),
    _key("version", "Its version, `major.revision`."),
    Column("major", Integer, nullable=False, comment="The first part of the version."),
    Column("revision", Integer, nullable=False, comment="The second part of the version."),
    _ms("registered_ms", "When its record was written: when it was accepted, or deleted.", nullable=False),
    _flag("deleted", "1: it was deleted, and no WfRun may be started with it."),
    _data("searchable", "WF_SPEC: the names of the Variables that are marked `searchable`."),
    _text("document", "WF_SPEC: its document."),
    comment="One row per version of a definition.",
)

events = Table(
    "events",
    metadata,
    _key("partition", "The partition of `wf-events`.", BigInteger),
    _key("log_offset", "Its offset there.", BigInteger),
    _text("wf_run_id", "Its WfRun; `partition/n` for what is about a whole partition.", nullable=False),
    _number("incarnation", "The incarnation of the WfRun; -1 where nothing was started.", nullable=False),
    _number("seq", "Its number in the history of the WfRun; 0 where nothing was started.", nullable=False),
    _text("event", "The name of the event, such as NodeCompleted.", nullable=False),
    _ms("at_ms", "Its time.", nullable=False),
    _number("thread", "The thread that it is about, if it is about one."),
    _text("cause_topic", "The topic of the record that brought it about, without the prefix.", nullable=False),
    _number("cause_partition", "The partition of that record.", nullable=False),
    _number("cause_offset", "The offset of that record.", nullable=False),
    _text("code", "Rejected: the code. NodeFailed, ThreadFailed, TaskAttemptEnded: the name of the failure."),
    Index("events_of_wf_run", "wf_run_id", "log_offset"),
    Index("events_by_code", "code", "at_ms", **_where("code IS NOT NULL")),
    comment="Where each event is on the log, without what it says, while the log has it.",
    sqlite_with_rowid=False,
)

partitions = Table(
    "partitions",
    metadata,
    _key("partition", "Its number.", BigInteger),
    _number("log_offset", "The next offset of `wf-events` to read.", nullable=False),
    _number("dead_letters_offset", "The next offset of `dead-letters` to read.", nullable=False),
    _number("lag", "How many offsets of both topics are not read yet.", nullable=False),
    _ms("seen_ms", "When Kafka last told how far both topics go, by the clock of `halter view`.", nullable=False),
    _ms("event_ms", "The time of the last event that was read."),
    comment="How far each partition is read. Committed together with what was read.",
)

source = Table(
    "source",
    metadata,
    _key("id", "Always 1.", BigInteger),
    _text("cluster", "The id of the Kafka cluster."),
    _text("topic_ids", "The ids of the topics, to tell one that was deleted and created again."),
    _text("prefix", "The prefix of the topics.", nullable=False),
    Column("partitions", Integer, nullable=False, comment="The number of partitions."),
    _flag("with_masked", "1: masked values are in the view."),
    _text("state", "BUILDING: it is filled for the first time. READY: it may be read.", nullable=False),
    _ms("built_ms", "When the view was begun, from nothing.", nullable=False),
    comment="Of which installation the view is. One row.",
)

state = Table(
    "state",
    metadata,
    _of_wf_run(),
    _key("topic", "The topic of the row, without the prefix."),
    _key("row_key", "The key of the row."),
    Column("value", LargeBinary, nullable=False, comment="The row as Avro."),
    comment="For `halter view` itself: the rows of the state, on which it folds the log further.",
    sqlite_with_rowid=False,
)

OF_WF_RUNS: Final = (
    wf_runs,
    thread_runs,
    halt_reasons,
    waits,
    external_events,
    tasks,
    failures,
    correlation_keys,
    searchable,
    state,
)
"""The tables whose rows go when their WfRun is deleted."""
