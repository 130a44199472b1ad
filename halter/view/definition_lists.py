"""The definitions that a view knows: names and versions.

Each function reads on the connection that it is given. Knows the tables. Does not write.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, RowMapping, select

from halter.view import tables as t

NAMES_MAX: Final = 1_000
"""Most names of definitions of a kind."""


def wf_spec_names(connection: Connection) -> list[str]:
    """The names of all WfSpecs that were registered."""
    c = t.definitions.c
    query = select(c.name).where(c.kind == "WF_SPEC").distinct().order_by(c.name).limit(NAMES_MAX)
    return list(connection.scalars(query))


def wf_spec_versions(connection: Connection, name: str) -> Sequence[RowMapping]:
    """The versions of a WfSpec, the newest first."""
    c = t.definitions.c
    query = select(t.definitions).where(c.kind == "WF_SPEC", c.name == name).order_by(c.major.desc(), c.revision.desc())
    return connection.execute(query).mappings().all()


def external_event_defs(connection: Connection) -> list[str]:
    """The names of all ExternalEventDefs that were registered."""
    c = t.definitions.c
    query = select(c.name).where(c.kind == "EXTERNAL_EVENT_DEF").distinct().order_by(c.name).limit(NAMES_MAX)
    return list(connection.scalars(query))


def all_wf_spec_versions(connection: Connection) -> Sequence[RowMapping]:
    """The versions of all WfSpecs, the newest of each first."""
    c = t.definitions.c
    query = select(c.name, c.version, c.registered_ms, c.deleted).where(c.kind == "WF_SPEC")
    order = c.name, c.major.desc(), c.revision.desc()
    return connection.execute(query.order_by(*order).limit(NAMES_MAX)).mappings().all()
