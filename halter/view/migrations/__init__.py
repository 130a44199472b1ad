"""Migrations of the view's tables, run by Alembic when `halter view` opens a database.

env         runs them on a connection
versions    one module per revision of the schema; a released one is never changed
"""
