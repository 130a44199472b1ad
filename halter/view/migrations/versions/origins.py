"""Where the failure of a WfRun and a dead letter come from, and indexes of what threads wait for by kind and name."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

CAUSES: Final = """
    UPDATE wf_runs SET cause_code = (
        SELECT cause_code FROM failures
        WHERE failures.wf_run_id = wf_runs.wf_run_id AND thread = 0 AND handler IS NULL
        ORDER BY failures.seq DESC LIMIT 1
    ) WHERE failure_code IS NOT NULL
"""
NO_OTHER_NAME: Final = "UPDATE wf_runs SET cause_code = NULL WHERE cause_code = failure_code"
ORIGINS: Final = """
    UPDATE dead_letters SET
        origin = CASE WHEN source_topic LIKE '%wf-events' THEN 'SINK' ELSE 'BINDING' END
    WHERE mapping IS NOT NULL
"""
"""The records of before do not say who wrote them. Sinks read the log, and bindings hardly do."""


def upgrade() -> None:
    """Add columns, fill them from what the view has, and make the indexes."""
    op.add_column("wf_runs", sa.Column("cause_code", sa.Text(), nullable=True))
    op.add_column("dead_letters", sa.Column("origin", sa.Text(), nullable=False, server_default="WORKER"))
    for statement in (CAUSES, NO_OTHER_NAME, ORIGINS):
        op.execute(statement)
    has_cause = sa.text("cause_code IS NOT NULL")
    op.create_index(
        "wf_runs_by_cause",
        "wf_runs",
        ["cause_code", "changed_ms", "wf_run_id"],
        sqlite_where=has_cause,
        postgresql_where=has_cause,
    )
    op.create_index("dead_letters_by_origin", "dead_letters", ["origin", "at_ms"])
    for index, column in (("waits_for_event", "external_event_def"), ("waits_for_task", "task_def")):
        has_name = sa.text(f"{column} IS NOT NULL")
        op.drop_index(index, "waits")
        op.create_index(
            index,
            "waits",
            [column, "waits_for", "wf_run_id"],
            sqlite_where=has_name,
            postgresql_where=has_name,
        )
