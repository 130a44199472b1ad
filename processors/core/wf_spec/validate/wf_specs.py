"""Checks a WfSpec as a whole, then each of its ThreadSpecs."""

from processors.core.records.names import NAME_IN_WORDS, is_name
from processors.core.records.spec import INPUT, ThreadSpec
from processors.core.wf_spec.validate.correlation import check_correlated_events
from processors.core.wf_spec.validate.examination import THREADS_MAX, Examination
from processors.core.wf_spec.validate.thread_examination import ThreadExamination
from processors.core.wf_spec.validate.threads import check_thread


def check_wf_spec(whole: Examination) -> None:
    """Report all that is wrong with a WfSpec; raises EnoughProblems if that is more than anybody looks for."""
    wf_spec = whole.wf_spec
    if not is_name(wf_spec.name):
        whole.report("WF_NAME", ("name",), f"expected {NAME_IN_WORDS}, found {wf_spec.name[:200]!r}")
    if wf_spec.entrypoint not in wf_spec.threads:
        known = whole.meant_or_known(wf_spec.entrypoint, wf_spec.threads)
        message = f"expected the name of a ThreadSpec{known}, found {wf_spec.entrypoint!r}"
        whole.report("NO_ENTRYPOINT_THREAD", ("entrypoint",), message)
    whole.check_count(wf_spec.threads, THREADS_MAX, ("threads",), "ThreadSpecs")
    declaring: dict[str, str] = {}
    for thread in wf_spec.threads.values():
        _check_unique(whole, thread, declaring)
    check_correlated_events(whole)
    for thread in wf_spec.threads.values():
        check_thread(ThreadExamination(whole, thread))


# (rule one-thread-spec-per-interrupt)
def _check_unique(whole: Examination, thread: ThreadSpec, declaring: dict[str, str]) -> None:
    """Check what only one ThreadSpec may have. `declaring`: Variable -> the first ThreadSpec that declares it."""
    path = ("threads", thread.name)
    for variable in thread.variables.values():
        if variable.name != INPUT and declaring.setdefault(variable.name, thread.name) != thread.name:
            whole.report(
                "VAR_DUPLICATE",
                (*path, "variables", variable.name),
                f"expected a name that no other ThreadSpec uses, found one of {declaring[variable.name]}",
            )
    for index, interrupt in enumerate(thread.interrupts):
        event = interrupt.external_event_def
        if whole.interrupting.setdefault(event, thread.name) != thread.name:
            whole.report(
                "INTERRUPT_EED_MULTI_THREAD",
                (*path, "interrupts", index, "event"),
                f"expected one ThreadSpec with an interrupt for {event!r}, found it in {whole.interrupting[event]} too",
            )
