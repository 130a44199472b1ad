"""A sink, as its document says it: which events become records of which topic, and of what form. Values only."""

from dataclasses import dataclass

from halter.transform.templates import Template
from processors.core.records.spec import Expression

STATUS = "status"
VARIABLES = "variables"
ALL = "all"
GROUPS = (STATUS, VARIABLES, ALL)
"""Names for several events, beside those of single ones."""


@dataclass(frozen=True, slots=True)
class Sink:
    """What becomes of the events on the log."""

    name: str
    """Names the group of the processes that run it."""
    topic: str
    wf_specs: frozenset[str] | None = None
    """The WfSpecs whose WfRuns are told of; None for all."""
    events: frozenset[str] = frozenset((STATUS, VARIABLES))
    """Names of events and of groups."""
    variables: frozenset[str] | None = None
    """The Variables that are told of; None for all."""
    when: Expression | None = None
    value: Template | None = None
    """None: the whole document of the event."""
