"""Runs migrations of the view on the connection that `halter.view.place` gives. Alembic executes this file."""

from alembic import context

from halter.view.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
