"""Checks a document of bindings against definitions: names, versions, and types as far as they are known."""

from collections.abc import Iterator

from halter.bindings.mapping import version_of
from halter.bindings.model import Bindings, BoundEvent, Start
from halter.client.meant import meant
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.document_problems import DocumentProblem
from processors.core.wf_spec.near_names import NearNames
from processors.core.wf_spec.static_types import fits


def problems_with(bindings: Bindings, definitions: Definitions) -> Iterator[DocumentProblem]:
    """Yield what does not fit."""
    for binding in bindings.bindings:
        for event in binding.all_events():
            yield from _of_event(event, definitions)


def _of_event(event: BoundEvent, definitions: Definitions) -> Iterator[DocumentProblem]:
    name, kind = event.external_event_def, DefinitionKind.EXTERNAL_EVENT_DEF
    known = definitions.versions(kind, name)
    if not any(not it.deleted for it in known):
        message = f"expected a registered ExternalEventDef, found {name!r}{meant(definitions, name, kind)}"
        yield DocumentProblem("EXT_EVENT_DEF_MISSING", (*event.path, "event"), message)
    elif not any(fits(event.content_type, it.content_type) for it in known):
        types = " or ".join(dict.fromkeys(str(it.content_type) for it in known))
        message = f"expected {types}, the type of ExternalEventDef {name!r}, found {event.content_type}"
        yield DocumentProblem("CONTENT_TYPE", (*event.path, "content"), message)
    elif event.correlate is not None and not _is_correlated(name, definitions):
        message = f"expected an ExternalEventDef that a WfSpec has under correlated_events, found {name!r}"
        yield DocumentProblem("CORRELATION_MISSING", (*event.path, "event"), message)
    if event.start is not None:
        yield from _of_start(event, event.start, definitions)


def _is_correlated(name: str, definitions: Definitions) -> bool:
    try:
        named = list(definitions.naming(DefinitionKind.EXTERNAL_EVENT_DEF, name))
        return any(name in definitions.wf_spec(it).correlated_events for it in named)
    except HalterError:
        return True  # perhaps in a WfSpec of a later release


def _of_start(event: BoundEvent, start: Start, definitions: Definitions) -> Iterator[DocumentProblem]:
    latest = definitions.latest_wf_spec(start.wf_spec, start.major, start.revision)
    if latest is None:
        hint = meant(definitions, start.wf_spec, DefinitionKind.WF_SPEC)
        message = f"expected a registered WfSpec to start, found {start.wf_spec!r}{version_of(start)}{hint}"
        yield DocumentProblem("WF_SPEC_MISSING", (*start.path, "wf_spec"), message)
        return
    try:
        wf_spec = definitions.wf_spec(latest)
    except HalterError:
        return  # one of a later release
    variables = wf_spec.threads[wf_spec.entrypoint].variables
    near = NearNames()
    for name in start.inputs:
        place = (*start.path, "inputs", name)
        if name not in variables:
            hint = near.meant_or_known(name, variables)
            message = f"WfSpec {latest} has no Variable {name!r} to start with{hint}"
            yield DocumentProblem("START_INPUTS", place, message)
        elif not fits(start.input_types.get(name), variables[name].type):
            found = start.input_types[name]
            message = f"expected {variables[name].type}, the type of Variable {name!r} of {latest}, found {found}"
            yield DocumentProblem("START_INPUTS", place, message)
    for name, variable in variables.items():
        if variable.required and name not in start.inputs:
            message = f"Variable {name!r} of {latest} is required, and no input gives it"
            yield DocumentProblem("START_INPUTS", start.path, message)
    if event.external_event_def not in wf_spec.external_event_defs:
        named = near.meant_or_known(event.external_event_def, sorted(wf_spec.external_event_defs))
        message = f"{latest} has no use for ExternalEvents {event.external_event_def!r}{named}"
        yield DocumentProblem("START_EVENT", (*event.path, "event"), message)
