"""Compares the names in a sink with definitions: WfSpecs and their Variables."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from halter.client.meant import meant
from halter.sinks.model import Sink
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.model import WfSpecId
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.near_names import NearNames


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A name in a list of the document that no definition has."""

    field: Literal["wf_specs", "variables"]
    name: str
    message: str


def unknown_names(sink: Sink, definitions: Definitions) -> Iterator[UnknownName]:
    """Yield each WfSpec that was never registered, and each Variable that none of them has."""
    known = True
    for name in sorted(sink.wf_specs or ()):
        if not definitions.versions(DefinitionKind.WF_SPEC, name):
            known = False
            message = f"expected a registered WfSpec, found {name!r}{meant(definitions, name, DefinitionKind.WF_SPEC)}"
            yield UnknownName("wf_specs", name, message)
    declared = _variables(sink, definitions)
    if sink.variables is None or declared is None or not known:
        return
    for name in sorted(sink.variables - declared):
        of = "a WfSpec" if sink.wf_specs is None else ", ".join(sorted(sink.wf_specs))
        hint = NearNames().meant_or_known(name, sorted(declared))
        yield UnknownName("variables", name, f"expected a Variable of {of}, found {name!r}{hint}")


def _variables(sink: Sink, definitions: Definitions) -> frozenset[str] | None:
    """Return the Variables of all versions of the sink's WfSpecs; None if one cannot be read, or there is none."""
    found: set[str] = set()
    names = definitions.names(DefinitionKind.WF_SPEC) if sink.wf_specs is None else sink.wf_specs
    try:
        for name in names:
            for it in definitions.versions(DefinitionKind.WF_SPEC, name):
                wf_spec = definitions.wf_spec(WfSpecId(it.name, it.major, it.revision))
                found.update(variable for thread in wf_spec.threads.values() for variable in thread.variables)
    except HalterError:
        return None  # one of a later release
    return frozenset(found) if names else None
