"""Compares two states of a WfRun, and finds the first difference.

It compares everything that a fold goes on from: the row, every ThreadRun and ExternalEvent in order, and the part of
the index that follows from them. It leaves out the changes that are still to be written, and which threads are parked
where: restoring may park more threads than the lost state had.
"""

from collections.abc import Iterator
from dataclasses import fields

from processors.core.records.model import WfRun

_NOT_STATE = frozenset({"changes", "index", "spec", "threads", "external_events"})


def difference(expected: WfRun, found: WfRun) -> str | None:
    """Return the first difference as a sentence; None if there is none."""
    pairs = zip(_parts(expected), _parts(found), strict=False)
    for (name, one), (other_name, other) in pairs:
        if name != other_name:
            return f"expected {name}, found {other_name}"
        if one != other:
            return f"{name}: expected {one}, found {other}"
    return None


def _parts(run: WfRun) -> Iterator[tuple[str, str]]:
    # Compared as text: repr tells True from 1 and 1.0, and a NaN equals itself.
    for item in fields(run):
        if item.name not in _NOT_STATE:
            yield item.name, repr(getattr(run, item.name))
    for number, thread in run.threads.items():
        yield f"thread {number}", repr(thread)
    for key, event in run.external_events.items():
        yield f"ExternalEvent {key[0]} {key[1]}", repr(event)
    yield "live threads by ThreadSpec", repr(sorted((spec, live) for spec, live in run.index.by_spec.items() if live))
    unclaimed = {name: list(ids) for name, ids in run.index.unclaimed.items() if ids}
    yield "unclaimed", repr(sorted(unclaimed.items()))
    yield "end", ""
