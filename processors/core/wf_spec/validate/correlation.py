"""Checks the correlation keys of a WfSpec: by which key the events of an ExternalEventDef find a WfRun."""

from processors.core.records.spec import Expression, VariableRef, walk
from processors.core.records.values import VariableType
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.static_types import StaticTypes, Type
from processors.core.wf_spec.validate.examination import Examination
from processors.core.wf_spec.validate.thread_examination import ThreadExamination

CORRELATED_EVENTS_MAX = 20


# (rule keys-read-the-entrypoint)
def check_correlated_events(whole: Examination) -> None:
    """Report all that is wrong with the correlation keys."""
    wf_spec, path = whole.wf_spec, ("correlated_events",)
    whole.check_count(wf_spec.correlated_events, CORRELATED_EVENTS_MAX, path, "correlated events")
    for event_def, expression in wf_spec.correlated_events.items():
        if event_def not in wf_spec.external_event_defs:
            known = whole.meant_or_known(event_def, sorted(wf_spec.external_event_defs))
            message = f"expected an event that an interrupt or an EXTERNAL_EVENT takes{known}, found {event_def!r}"
            whole.report("CORRELATION_EVENT", (*path, event_def), message)
        if wf_spec.entrypoint in wf_spec.threads:
            _check_key(whole, expression, (*path, event_def))


# (rule no-key-of-masked-variables)
def _check_key(whole: Examination, expression: Expression, path: Path) -> None:
    thread = ThreadExamination(whole, whole.wf_spec.threads[whole.wf_spec.entrypoint])

    def output(name: str, at: Path) -> Type:
        message = f"expected Variables of {thread.spec.name} alone, found the output of node {name!r}"
        whole.report("CORRELATION_KEY_OUTPUT", at, message)
        return None

    found = StaticTypes(thread.variable, output, whole.report).of(expression, path)
    if found not in (None, VariableType.STR, VariableType.INT):
        whole.report("CORRELATION_KEY_TYPE", path, f"expected STR or INT as a correlation key, found {found}")
    for part in walk(expression):
        variable = thread.spec.variables.get(part.name) if isinstance(part, VariableRef) else None
        if variable is not None and variable.masked:
            message = f"expected no masked Variable, because keys are not masked, found {variable.name!r}"
            whole.report("CORRELATION_KEY_MASKED", path, message)
