"""Runs migrations on the connection that ``serving.observations.database.migrate`` opened."""

from alembic import context
from sqlalchemy import Connection, text

from serving.observations.table import metadata

# Any number, the same for all: two servers that start at once migrate one after the other.
_LOCK = 7_240_113


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        context.run_migrations()
    connection.commit()


_run(context.config.attributes["connection"])
