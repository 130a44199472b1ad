"""Whether a view is of the installation that gets commands: by a view of another one, they would be wrong ones.

Knows what a view says of itself. Knows no Kafka: whoever asks says which installation it is.
"""

from sqlalchemy import Connection, select

from halter.view import tables
from halter.view.keeping import Source, expect_source


def expect_same_installation(connection: Connection, where: str, source: Source) -> None:
    """Raise OtherSource unless a view is of the installation that gets the commands. `where` names the view."""
    found = connection.execute(select(tables.source)).mappings().one()
    mend = "name the view of this installation (--view), or the installation of this view"
    expect_source(source, dict(found), with_masked=None, where=where, mend=mend)
