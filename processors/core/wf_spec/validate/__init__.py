"""Says what is wrong with a WfSpec before it is registered: every rule that a WfSpec has to keep, each with its code.

The structure of a document is checked as it is read; what it says is checked here. All problems are reported, each with
its place (ThreadSpec, node, field) and with what was expected and what was found. CODES says what each code stands for.

Not refused, because a WfSpec with it runs as written: nodes that nothing leads to and ThreadSpecs that nothing starts
(`hints` reports those), and comparing values that can never be equal.

    codes                            what a WfSpec may be refused with
    references, unread               the definitions it may refer to; what of its document could not be read
    examination, thread_examination  what the checks know of a WfSpec, and of one of its ThreadSpecs
    wf_specs, threads, handlers, edges, nodes
                                     the checks, from the whole to its parts
    correlation                      the correlation keys
    hints                            what is probably a mistake
"""

from contextlib import suppress

from processors.core.records.spec import WfSpec
from processors.core.records.values import ValueProblem
from processors.core.wf_spec.document_problems import DocumentProblem, EnoughProblems
from processors.core.wf_spec.json_document import DOCUMENT_BYTES_MAX, utf8_size
from processors.core.wf_spec.reader import read_as_far_as_possible
from processors.core.wf_spec.validate.codes import CODES
from processors.core.wf_spec.validate.examination import Examination
from processors.core.wf_spec.validate.hints import hints
from processors.core.wf_spec.validate.references import KIND_NAMES, RegisteredDefs
from processors.core.wf_spec.validate.unread import Unread
from processors.core.wf_spec.validate.wf_specs import check_wf_spec

__all__ = ["CODES", "KIND_NAMES", "RegisteredDefs", "check_document", "examine", "hints"]


def check_document(document: object, registered: RegisteredDefs | None) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """Return the WfSpec of a document, or all that is wrong with it, in its structure and in what it says.

    Without `registered`, references to definitions are not checked.
    """
    wf_spec, problems = examine(document, registered)
    return (None if problems else wf_spec), problems


# (rules all-problems-reported, wf-spec-is-checked)
def examine(document: object, registered: RegisteredDefs | None) -> tuple[WfSpec | None, list[DocumentProblem]]:
    """Do as `check_document`, but return the WfSpec, as far as it could be read, also where something is wrong."""
    wf_spec, problems = read_as_far_as_possible(document)
    if wf_spec is None:
        return None, problems
    unread = Unread(problems)
    whole = Examination(wf_spec, registered, unread)
    with suppress(EnoughProblems):
        check_wf_spec(whole)
    problems += [problem for problem in whole.problems if not unread.explains(problem)]
    if not problems:
        problems += _problems_of_storing(wf_spec)
    return wf_spec, problems


def _problems_of_storing(wf_spec: WfSpec) -> list[DocumentProblem]:
    """Check the document as the engine writes it: it may be longer than as it came, and has to be readable again."""
    try:
        size = utf8_size(wf_spec.document)
    except ValueProblem as problem:
        return [DocumentProblem("DOCUMENT", (), str(problem))]
    if size <= DOCUMENT_BYTES_MAX:
        return []
    return [DocumentProblem("DOCUMENT", (), f"expected at most {DOCUMENT_BYTES_MAX} bytes of JSON, found {size}")]
