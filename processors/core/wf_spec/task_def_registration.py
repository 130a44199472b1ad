"""Registers a TaskDef: whether a changed one is accepted, and what its refusal says.

Task workers are written to a TaskDef, WfSpecs name it, and WfRuns of these are under way. A changed one is accepted if
all of them go on as they are, whichever is upgraded first (ADR 24):

- The queue may be any: attempts that are requested later go there.
- An input may come in if it is optional. None goes, and none changes.
- The output may become narrower: INT where it was DOUBLE, or any type where it was not checked.
- Inputs may be declared where none were, if every live version of a WfSpec gives what they say.

A WfSpec binds the revision that is the newest when it is accepted, so its WfRuns give inputs and take outputs by that.
The queue alone is that of the newest revision.

What stays true: every live version of a WfSpec gives what the newest revision of its TaskDefs expects, and takes what
that returns.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Final, TypeAlias

from processors.core.records.commands import DefinitionKind, PutTaskDef
from processors.core.records.events import Definition, RejectionCode
from processors.core.records.model import WfSpecId
from processors.core.records.names import is_inner_name
from processors.core.records.spec import TaskNode
from processors.core.records.topic_names import TASK_REQUESTS
from processors.core.records.values import VariableType
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.document_problems import DocumentProblem, Path
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.refused import Refused, check_name, invalid
from processors.core.wf_spec.validate import examine

TASK_INPUTS_MAX: Final = 200
UNFIT_MAX: Final = 20
"""The most problems of WfSpecs that a refusal names: there may be thousands of versions."""
BREAKING: Final = "TASKDEF_BREAKING"
"""The code of a difference that is refused."""

TaskQueues: TypeAlias = frozenset[str] | None
"""The named queues that topics.yaml declares; None if any queue that a TaskDef names counts as declared."""


# (rule task-queue-is-declared)
def task_def_of(command: PutTaskDef, task_queues: TaskQueues) -> Definition:
    """Return the TaskDef of a command, as version 0.0. Raises Refused if it cannot be one."""
    if command.queue is not None and task_queues is not None and command.queue not in task_queues:
        known = ", ".join(sorted(task_queues)) or "none"
        where = "topics.yaml, or in the file that HALTER_TOPICS names"
        raise invalid(f"no queue {command.queue!r} is declared in {where}; named are: {known}")
    check_name(command.name, "a name")
    if command.queue is not None:
        check_name(command.queue, "a queue's name")
    inputs = command.input or {}
    if len(inputs) > TASK_INPUTS_MAX:
        raise invalid(f"expected at most {TASK_INPUTS_MAX} inputs, found {len(inputs)}")
    for name in inputs:
        if not is_inner_name(name):
            raise invalid(f"expected inputs named by letters, digits, _ and -, found {name[:200]!r}")
    for name in command.optional:
        if name not in inputs:
            raise invalid(f"expected optional inputs to be among the inputs, found {name[:200]!r}")
    return Definition(
        DefinitionKind.TASK_DEF,
        command.name,
        0,
        0,
        input=command.input,
        output=command.output,
        queue=command.queue,
        optional=sorted({*command.optional}),
    )


# (rule task-def-changes-compatibly)
def revised(definitions: Definitions, wanted: Definition) -> Definition:
    """Return the revision that a TaskDef becomes, or the newest one if it equals that. Raises Refused."""
    newest = definitions.newest(DefinitionKind.TASK_DEF, wanted.name)
    if newest is None:
        return wanted
    if replace(wanted, major=newest.major, revision=newest.revision) == newest:
        return newest
    if breaks := [] if newest.deleted else list(_breaks(newest, wanted)):
        raise _refused(
            breaks,
            f"task workers and WfRuns rely on {newest.version}: put the other task under a name of its own "
            f"({_another_name(wanted.name)}), put WfSpecs that name it, and delete {wanted.name!r} when none does",
        )
    # Where inputs were declared, every WfSpec gives them, and goes on to. A deleted TaskDef has no task workers that
    # rely on it, but there may be older versions of WfSpecs that name it.
    if newest.deleted or newest.input is None:
        unfit = list(islice(_unfit_wf_specs(definitions, wanted), UNFIT_MAX))
        if unfit:
            raise _refused(
                unfit,
                "put WfSpecs that fit, and delete the versions that do not when no WfRun runs them; or put the "
                f"task under a name of its own ({_another_name(wanted.name)})",
            )
    return replace(wanted, major=newest.major, revision=newest.revision + 1)


def _refused(problems: list[DocumentProblem], way_out: str) -> Refused:
    """Return a refusal whose last sentence says what to do."""
    last = problems[-1]
    said = [*problems[:-1], replace(last, message=f"{last.message}; {way_out}")]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Refused(RejectionCode.FAILED_PRECONDITION, f"{problems[0]}{more}; {way_out}", said)


def _another_name(name: str) -> str:
    """Return a name that the next task might have: `charge-2` for `charge`, `charge-3` for `charge-2`."""
    base, _, number = name.rpartition("-")
    return f"{base}-{int(number) + 1}" if base and number.isdecimal() and len(number) < 9 else f"{name}-2"


def _breaks(before: Definition, after: Definition) -> Iterator[DocumentProblem]:
    """Yield what of a change is more than task workers and WfRuns can bear."""
    was = f"as in {before.version}"
    if before.input is not None and after.input is None:
        yield _break(("input",), f"expected the inputs {described_inputs(before)} {was}, found none declared")
    elif before.input is not None and after.input is not None:
        for name, declared in before.input.items():
            found = after.input.get(name)
            place = ("input", name)
            if found is None:
                yield _break(("input",), f"expected the input {name} ({declared}) {was}, found it gone")
            elif found is not declared:
                yield _break(place, f"expected {declared} {was}, found {found}")
            elif name in before.optional and name not in after.optional:
                yield _break(place, f"expected it to be optional {was}, found it required")
            elif name in after.optional and name not in before.optional:
                yield _break(place, f"expected it to be required {was}, found it optional")
        for name in after.input:
            if name not in before.input and name not in after.optional:
                expected = "expected a new input to be optional, as WfSpecs do not give it"
                yield _break(("input", name), f"{expected}; found {name} required")
    if not is_as_narrow(after.output, before.output):
        yield _wider(after.output, before.output, was)


def _wider(found: VariableType | None, declared: VariableType | None, was: str) -> DocumentProblem:
    narrower = " or INT" if declared is VariableType.DOUBLE else ""
    return _break(("output",), f"expected {declared}{narrower} {was}, found {found or 'that it is not checked'}")


def _break(path: Path, message: str) -> DocumentProblem:
    return DocumentProblem(BREAKING, path, message)


def is_as_narrow(found: VariableType | None, declared: VariableType | None) -> bool:
    """Return True if every value that one type of output has can be stored as the other."""
    return declared in (None, found) or (declared is VariableType.DOUBLE and found is VariableType.INT)


def is_alike(bound: Definition, newest: Definition) -> bool:
    """Return True if a WfSpec that binds one revision of a definition would come to the same by the other.

    A queue makes no difference, as every WfRun uses that of the newest, nor do inputs that the WfSpec does not give.
    """
    if bound.kind is not DefinitionKind.TASK_DEF:
        return bound.version == newest.version
    if bound.output is not newest.output or (bound.input is None) != (newest.input is None):
        return False
    return (bound.input or {}).items() <= (newest.input or {}).items()


class _Registered:
    """The definitions as a WfSpec binds them, but for one TaskDef that is to be put."""

    def __init__(self, definitions: Definitions, wf_spec_id: WfSpecId, wanted: Definition) -> None:
        self._definitions, self._wf_spec_id, self._wanted = definitions, wf_spec_id, wanted

    def task_def(self, name: str) -> Definition | None:
        return self._wanted if name == self._wanted.name else self._definitions.task_def(name, self._wf_spec_id)

    def external_event_def(self, name: str) -> Definition | None:
        return self._definitions.external_event_def(name, self._wf_spec_id)

    def workflow_event_def(self, name: str) -> Definition | None:
        return self._definitions.workflow_event_def(name)

    def names(self, kind: DefinitionKind) -> list[str]:
        return self._definitions.names(kind)


def _unfit_wf_specs(definitions: Definitions, wanted: Definition) -> Iterator[DocumentProblem]:
    """Yield each way in which a live version of a WfSpec does not fit a TaskDef that is to be put."""
    for wf_spec_id in definitions.naming(DefinitionKind.TASK_DEF, wanted.name):
        bound = definitions.task_def(wanted.name, wf_spec_id)
        assert bound is not None, "it names it"
        if not is_as_narrow(wanted.output, bound.output):
            yield _wider(wanted.output, bound.output, f"as {wf_spec_id} does")
        if wanted.input is None:
            continue
        document = definitions.version(wf_spec_id).document
        assert document is not None, "a WfSpec has one"
        # Its expressions have the types that it binds, also where they use an output of this very task.
        registered = _Registered(definitions, wf_spec_id, replace(wanted, output=bound.output))
        wf_spec, problems = examine(parse_json_document(document), registered)
        assert wf_spec is not None, "it was registered"
        for problem in problems:
            match problem.path:
                case ("threads", str(thread), "nodes", str(name), "input", *_):
                    node = wf_spec.threads[thread].nodes[name]
                    if isinstance(node, TaskNode) and node.task_def == wanted.name:
                        yield DocumentProblem(problem.code, ("input",), f"{wf_spec_id}, {problem}")
                case _:
                    pass  # of what is deleted since, and goes on for it


def described(task_def: Definition) -> str:
    """Return what a TaskDef says, in words."""
    output, queue = task_def.output or "unchecked", task_def.queue or TASK_REQUESTS
    return f"input {described_inputs(task_def)}, output {output}, queue {queue}"


def described_inputs(task_def: Definition) -> str:
    """Return the inputs that a TaskDef declares, in words: `{cents: INT, note: STR (optional)}`."""
    if task_def.input is None:
        return "unchecked"
    declared = (f"{name}: {it}{' (optional)' * (name in task_def.optional)}" for name, it in task_def.input.items())
    return f"{{{', '.join(declared)}}}"
