"""Lists of dead letters, the newest first, and one of them. Knows the tables. Does not write."""

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, literal, select, tuple_

from halter.view import tables as t
from halter.view.looking import AT_LEAST_ONE, Rest, walked_page
from halter.view.paging import LIMIT, Page, limit_of, place_of


@dataclass(frozen=True, slots=True)
class DeadLetterLine:
    """A dead letter, as a list shows it."""

    partition: int
    offset: int
    reason: str
    message: str
    source_topic: str
    source_partition: int | None
    source_offset: int | None
    wf_run_id: str | None
    at_ms: int
    origin: str
    mapping: str | None
    retries: int
    last_outcome: str | None

    @property
    def name(self) -> str:
        """How commands name it: `3@1041`."""
        return f"{self.partition}@{self.offset}"

    @property
    def source(self) -> str:
        """Where it comes from: the binding or the sink that wrote it, or the topic that workers read."""
        return self.source_topic if self.mapping is None else f"{self.origin.lower()} {self.mapping}"


def dead_letters(
    connection: Connection,
    *,
    reason: str | None = None,
    topic: str | None = None,
    mapping: str | None = None,
    wf_run_id: str | None = None,
    retried: bool | None = None,
    after: str | None = None,
    limit: int = LIMIT,
) -> Page[DeadLetterLine]:
    """Return a page of dead letters, the newest first. Raises BadCursor."""
    limit, c = limit_of(limit), t.dead_letters.c
    columns = c.at_ms, c.partition, c.letter_offset
    query = select(t.dead_letters)
    if reason is not None:
        query = query.where(c.reason == reason)
    if after is not None:
        query = query.where(tuple_(*columns) < tuple_(*map(literal, place_of(after, [int, int, int]))))
    query = query.order_by(*(it.desc() for it in columns))
    given = ("source_topic", topic), ("mapping", mapping), ("wf_run_id", wf_run_id)
    rest: list[Rest] = [(name, value) for name, value in given if value is not None]
    if retried is not None:
        rest.append(("retries", AT_LEAST_ONE if retried else 0))
    names = ("at_ms", "partition", "letter_offset")
    rows, more = walked_page(connection, query, rest, names, limit)
    return Page([_dead_letter_line(it) for it in rows], more)


def dead_letter(connection: Connection, partition: int, offset: int) -> DeadLetterLine | None:
    """Return a dead letter; None if the view has none there."""
    c = t.dead_letters.c
    there = select(t.dead_letters).where(c.partition == partition, c.letter_offset == offset)
    row = connection.execute(there).mappings().first()
    return None if row is None else _dead_letter_line(row)


def _dead_letter_line(row: RowMapping) -> DeadLetterLine:
    told = {name: row[name] for name in row if name != "letter_offset"}
    return DeadLetterLine(**told, offset=row["letter_offset"])
