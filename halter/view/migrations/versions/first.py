"""The first tables of the view."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "correlation_keys",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("external_event_def", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("correlation_key", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "external_event_def"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "correlation_keys_by_key", "correlation_keys", ["correlation_key", "external_event_def"], unique=False
    )
    op.create_table(
        "dead_letters",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("letter_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("source_topic", sa.Text(), nullable=False),
        sa.Column("source_partition", sa.BigInteger(), nullable=True),
        sa.Column("source_offset", sa.BigInteger(), nullable=True),
        sa.Column("wf_run_id", sa.Text(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("mapping", sa.Text(), nullable=True),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        sa.Column("last_outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partition", "letter_offset"),
        sqlite_with_rowid=False,
    )
    op.create_index("dead_letters_by_reason", "dead_letters", ["reason", "at_ms"], unique=False)
    op.create_index("dead_letters_by_time", "dead_letters", ["at_ms"], unique=False)
    op.create_table(
        "definitions",
        sa.Column("kind", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("registered_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "searchable",
            sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql"),
            nullable=True,
        ),
        sa.Column("document", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", "version"),
    )
    op.create_table(
        "events",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wf_run_id", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("thread", sa.BigInteger(), nullable=True),
        sa.Column("cause_topic", sa.Text(), nullable=False),
        sa.Column("cause_partition", sa.BigInteger(), nullable=False),
        sa.Column("cause_offset", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partition", "log_offset"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "events_by_code",
        "events",
        ["code", "at_ms"],
        unique=False,
        sqlite_where=sa.text("code IS NOT NULL"),
        postgresql_where=sa.text("code IS NOT NULL"),
    )
    op.create_index("events_of_wf_run", "events", ["wf_run_id", "log_offset"], unique=False)
    op.create_table(
        "external_events",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("external_event_def", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("external_event_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("posted_ms", sa.BigInteger(), nullable=False),
        sa.Column("thread", sa.BigInteger(), nullable=True),
        sa.Column("claimed_by_thread", sa.BigInteger(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("handler", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hot", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "external_event_def", "external_event_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("external_events_by_def", "external_events", ["external_event_def", "posted_ms"], unique=False)
    op.create_index("external_events_by_status", "external_events", ["status", "posted_ms"], unique=False)
    op.create_table(
        "failures",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread", sa.BigInteger(), nullable=False),
        sa.Column("node_name", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("failed_ms", sa.BigInteger(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=True),
        sa.Column("cause_thread", sa.BigInteger(), nullable=True),
        sa.Column("cause_code", sa.Text(), nullable=True),
        sa.Column("cause_message", sa.Text(), nullable=True),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("failures_by_code", "failures", ["code", "failed_ms"], unique=False)
    op.create_index("failures_by_time", "failures", ["failed_ms"], unique=False)
    op.create_table(
        "halt_reasons",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("thread", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_event_def", sa.Text(), nullable=True),
        sa.Column("external_event_id", sa.Text(), nullable=True),
        sa.Column("handler", sa.BigInteger(), nullable=True),
        sa.Column("by_thread", sa.BigInteger(), nullable=True),
        sa.Column("since_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "thread", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("halt_reasons_by_kind", "halt_reasons", ["kind", "since_ms", "wf_run_id"], unique=False)
    op.create_table(
        "partitions",
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("dead_letters_offset", sa.BigInteger(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("event_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("partition"),
    )
    op.create_table(
        "searchable",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("text_value", sa.Text(), nullable=True),
        sa.Column("number_value", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "name"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "searchable_by_number",
        "searchable",
        ["name", "number_value", "wf_run_id"],
        unique=False,
        sqlite_where=sa.text("number_value IS NOT NULL"),
        postgresql_where=sa.text("number_value IS NOT NULL"),
    )
    op.create_index("searchable_by_text", "searchable", ["name", "text_value", "wf_run_id"], unique=False)
    op.create_table(
        "source",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cluster", sa.Text(), nullable=True),
        sa.Column("topic_ids", sa.Text(), nullable=True),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.Column("with_masked", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("built_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "state",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("row_key", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("wf_run_id", "topic", "row_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("thread", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node_position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task_def", sa.Text(), nullable=True),
        sa.Column("node_name", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("requested_ms", sa.BigInteger(), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "thread", "node_position", "attempt"),
        sqlite_with_rowid=False,
    )
    op.create_index("tasks_by_def", "tasks", ["task_def", "requested_ms"], unique=False)
    op.create_index("tasks_by_status", "tasks", ["status", "task_def", "requested_ms"], unique=False)
    op.create_table(
        "thread_runs",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("thread", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_spec", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("node_name", sa.Text(), nullable=False),
        sa.Column("node_position", sa.BigInteger(), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("hot", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "variables",
            sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql"),
            nullable=True,
        ),
        sa.Column("external_event_def", sa.Text(), nullable=True),
        sa.Column("external_event_id", sa.Text(), nullable=True),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "thread"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "thread_runs_by_node",
        "thread_runs",
        ["thread_spec", "node_name", "status"],
        unique=False,
        sqlite_where=sa.text("hot = 1"),
        postgresql_where=sa.text("hot = 1"),
    )
    op.create_table(
        "waits",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("thread", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=False),
        sa.Column("external_event_def", sa.Text(), nullable=True),
        sa.Column("task_def", sa.Text(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=True),
        sa.Column("condition", sa.Text(), nullable=True),
        sa.Column(
            "threads",
            sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql"),
            nullable=True,
        ),
        sa.Column("since_ms", sa.BigInteger(), nullable=True),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id", "thread", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("waits_by_kind", "waits", ["waits_for", "since_ms", "wf_run_id"], unique=False)
    op.create_index(
        "waits_for_event",
        "waits",
        ["external_event_def", "since_ms"],
        unique=False,
        sqlite_where=sa.text("external_event_def IS NOT NULL"),
        postgresql_where=sa.text("external_event_def IS NOT NULL"),
    )
    op.create_index(
        "waits_for_task",
        "waits",
        ["task_def", "since_ms"],
        unique=False,
        sqlite_where=sa.text("task_def IS NOT NULL"),
        postgresql_where=sa.text("task_def IS NOT NULL"),
    )
    op.create_table(
        "wf_runs",
        sa.Column("wf_run_id", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("wf_spec_name", sa.Text(), nullable=True),
        sa.Column("wf_spec_version", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("halted", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("quarantined", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("quarantined_ms", sa.BigInteger(), nullable=True),
        sa.Column("node_name", sa.Text(), nullable=True),
        sa.Column("live_threads", sa.BigInteger(), nullable=False),
        sa.Column(
            "variables",
            sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql"),
            nullable=True,
        ),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("forked_from", sa.Text(), nullable=True),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("wf_run_id"),
    )
    op.create_index("wf_runs_by_change", "wf_runs", ["changed_ms", "wf_run_id"], unique=False)
    op.create_index(
        "wf_runs_by_failure",
        "wf_runs",
        ["failure_code", "changed_ms", "wf_run_id"],
        unique=False,
        sqlite_where=sa.text("failure_code IS NOT NULL"),
        postgresql_where=sa.text("failure_code IS NOT NULL"),
    )
    op.create_index("wf_runs_by_start", "wf_runs", ["started_ms", "wf_run_id"], unique=False)
    op.create_index("wf_runs_by_status", "wf_runs", ["status", "changed_ms", "wf_run_id"], unique=False)
    op.create_index("wf_runs_by_wf_spec", "wf_runs", ["wf_spec_name", "changed_ms", "wf_run_id"], unique=False)
    op.create_index(
        "wf_runs_halted",
        "wf_runs",
        ["changed_ms", "wf_run_id"],
        unique=False,
        sqlite_where=sa.text("halted = 1"),
        postgresql_where=sa.text("halted = 1"),
    )
    op.create_index(
        "wf_runs_quarantined",
        "wf_runs",
        ["changed_ms", "wf_run_id"],
        unique=False,
        sqlite_where=sa.text("quarantined = 1"),
        postgresql_where=sa.text("quarantined = 1"),
    )
