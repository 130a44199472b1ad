"""Checks the nodes of a ThreadSpec, each kind by its own rules."""

from typing import assert_never

from processors.core.records.commands import DefinitionKind
from processors.core.records.failures import is_of_the_engine
from processors.core.records.names import NAME_IN_WORDS, is_name
from processors.core.records.spec import (
    INPUT,
    AnyNode,
    EntrypointNode,
    ExitNode,
    Expression,
    ExternalEventNode,
    ListOf,
    Literal,
    NopNode,
    SleepNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    TaskNode,
    ThrowEventNode,
    WaitForConditionNode,
    WaitForThreadsNode,
)
from processors.core.records.values import ValueProblem, VariableType, describe, timestamp_of
from processors.core.wf_spec.document_problems import Path
from processors.core.wf_spec.reader import SECONDS_MAX
from processors.core.wf_spec.validate.handlers import check_failure_handlers
from processors.core.wf_spec.validate.thread_examination import ThreadExamination


def check_node(thread: ThreadExamination, node: AnyNode, path: Path) -> None:
    """Check what a node of its kind has."""
    match node:
        case ExitNode():
            _check_exit(thread, node, path)
        case TaskNode():
            _check_task(thread, node, path)
        case ExternalEventNode():
            _check_external_event(thread, node, path)
        case SleepNode():
            _check_sleep(thread, node, path)
        case StartThreadNode():
            _check_start(thread, node, path)
        case StartMultipleThreadsNode():
            thread.expect(node.over, (*path, "over"), [VariableType.JSON_ARR], "START_MULTIPLE")
            _check_start(thread, node, path)
        case WaitForThreadsNode():
            _check_wait_for_threads(thread, node, path)
        case WaitForConditionNode():
            thread.expect(node.condition, (*path, "condition"), [VariableType.BOOL], "CONDITION_TYPE")
        case ThrowEventNode():
            _check_throw_event(thread, node, path)
        case EntrypointNode() | NopNode():
            pass
        case _:
            assert_never(node)


def _check_exit(thread: ThreadExamination, node: ExitNode, path: Path) -> None:
    name = node.failure_name
    if name is not None:
        place = (*path, "fail", "name")
        if is_of_the_engine(name):
            thread.report("FAILURE_NAME_RESERVED", place, f"expected a name of your own, found the engine's {name}")
        elif not is_name(name):
            thread.report("FAILURE_NAME_INVALID", place, f"expected {NAME_IN_WORDS}, found {name[:200]!r}")
    for field, expression in (("message", node.failure_message), ("content", node.failure_content)):
        if expression is not None:
            thread.types.of(expression, (*path, "fail", field))


# (rule task-inputs-are-given)
def _check_task(thread: ThreadExamination, node: TaskNode, path: Path) -> None:
    bounds = {"timeout_s": node.timeout_s, "queue_timeout_s": node.queue_timeout_s, "run_timeout_s": node.run_timeout_s}
    for field, expression in bounds.items():
        if expression is not None:
            _check_seconds(thread, expression, (*path, field), "TIMEOUT_TYPE", lowest=1)
    definition = thread.whole.definition(DefinitionKind.TASK_DEF, node.task_def, "TASKDEF_MISSING", (*path, "task"))
    declared = None if definition is None else definition.input
    if definition is not None and declared is not None:
        required = declared.keys() - {*definition.optional}
        if not required <= node.input.keys() <= declared.keys():
            inputs = ", ".join(f"{name}{' (optional)' * (name in definition.optional)}" for name in declared)
            thread.report(
                "TASK_ARG_COUNT",
                (*path, "input"),
                f"expected the inputs of TaskDef {node.task_def!r}: {inputs or 'none'}; "
                f"found {', '.join(node.input) or 'none'}",
            )
    for name, expression in node.input.items():
        thread.whole.check_name(name, (*path, "input", name))
        wanted = None if declared is None else declared.get(name)
        thread.expect_input(expression, wanted, (*path, "input", name), "TASK_ARG_TYPE")


def _check_seconds(thread: ThreadExamination, expression: Expression, path: Path, code: str, lowest: int) -> None:
    found = thread.expect(expression, path, [VariableType.INT], code)
    if isinstance(expression, Literal) and found is VariableType.INT:
        seconds = expression.value
        assert isinstance(seconds, int)
        if not lowest <= seconds <= SECONDS_MAX:
            thread.report(code, path, f"expected seconds from {lowest} to {SECONDS_MAX}, found {seconds}")


def _check_external_event(thread: ThreadExamination, node: ExternalEventNode, path: Path) -> None:
    event = node.external_event_def
    thread.whole.definition(DefinitionKind.EXTERNAL_EVENT_DEF, event, "EXT_EVENT_EED_MISSING", (*path, "event"))
    if event in thread.whole.interrupting:
        thread.report(
            "INTERRUPT_EED_ALSO_NODE",
            (*path, "event"),
            f"expected an event that is no interrupt, found {event!r}, an interrupt of "
            f"{thread.whole.interrupting[event]}",
        )
    if node.timeout_s is not None:
        _check_seconds(thread, node.timeout_s, (*path, "timeout_s"), "TIMEOUT_TYPE", lowest=0)


def _check_sleep(thread: ThreadExamination, node: SleepNode, path: Path) -> None:
    if node.seconds is not None:
        _check_seconds(thread, node.seconds, (*path, "seconds"), "SLEEP_TYPE", lowest=0)
    if node.until_ms is not None:
        thread.expect(node.until_ms, (*path, "until"), [VariableType.INT, VariableType.TIMESTAMP], "SLEEP_TYPE")
    if node.until_iso is not None:
        place = (*path, "until_iso")
        thread.expect(node.until_iso, place, [VariableType.STR], "SLEEP_TYPE")
        if isinstance(node.until_iso, Literal) and isinstance(node.until_iso.value, str):
            try:
                timestamp_of(node.until_iso.value)
            except ValueProblem as problem:
                thread.report("SLEEP_TYPE", place, f"expected ISO 8601, found that {problem}")


def _check_start(thread: ThreadExamination, node: StartThreadNode | StartMultipleThreadsNode, path: Path) -> None:
    """Check what a node starts, and what it gives it. START_MULTIPLE_THREADS has one code for all mistakes."""
    multiple = isinstance(node, StartMultipleThreadsNode)
    code = "START_MULTIPLE" if multiple else "START_THREAD_INPUTS"
    threads = thread.whole.wf_spec.threads
    child = threads.get(node.thread)
    if child is None:
        known = thread.whole.meant_or_known(node.thread, threads)
        thread.report(
            "START_MULTIPLE" if multiple else "START_THREAD_MISSING",
            (*path, "thread"),
            f"expected the name of a ThreadSpec{known}, found {node.thread!r}",
        )
    elif child.name == thread.spec.name:
        thread.report(
            "START_MULTIPLE" if multiple else "START_THREAD_SELF",
            (*path, "thread"),
            f"expected another ThreadSpec, found {child.name!r} itself",
        )
    for name, expression in node.input.items():
        place = (*path, "input", name)
        if child is not None and name not in child.variables and child.name not in thread.whole.unread.declarations:
            known = thread.whole.meant_or_known(name, child.variables)
            thread.report(code, place, f"expected a Variable of {child.name}{known}, found {name!r}")
        if multiple and name == INPUT:
            thread.report(code, place, "expected INPUT to be left out (it is the item of `over`), found it")
        declared = None if child is None else thread.whole.types.get((child.name, name))
        thread.expect_input(expression, declared, place, code)
    for name in () if child is None else thread.whole.required[child.name]:
        if name not in node.input and not (multiple and name == INPUT):
            thread.report(code, (*path, "input"), f"expected a value for the required Variable {name}, found none")


def _check_wait_for_threads(thread: ThreadExamination, node: WaitForThreadsNode, path: Path) -> None:
    check_failure_handlers(thread, node.on_child_failure, (*path, "on_child_failure"))
    place = (*path, "threads")
    match node.threads:
        case ListOf(items):
            for index, item in enumerate(items):
                thread.expect(item, (*place, index), [VariableType.INT], "WAIT_THREADS_TYPE")
        case Literal(list() as numbers):
            for index, number in enumerate(numbers):
                if type(number) is not int:
                    thread.report("WAIT_THREADS_TYPE", (*place, index), f"expected INT, found {describe(number)}")
        case _:
            thread.expect(node.threads, place, [VariableType.JSON_ARR], "WAIT_THREADS_TYPE")


def _check_throw_event(thread: ThreadExamination, node: ThrowEventNode, path: Path) -> None:
    definition = thread.whole.definition(
        DefinitionKind.WORKFLOW_EVENT_DEF, node.workflow_event_def, "WF_EVENT_DEF_MISSING", (*path, "event")
    )
    wanted = None if definition is None else definition.content_type
    thread.expect_input(node.content, wanted, (*path, "content"), "WF_EVENT_TYPE")
