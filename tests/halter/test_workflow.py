"""Workflows in Python: what thread functions write, that it runs as it reads, and that every WfSpec comes back."""

import json
import math
import operator
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from halter import BusinessException, InvalidDefinitions, Task, TaskWorker
from halter.files.definition_files import read_definition_file
from halter.files.yaml_files import read_yaml
from halter.scenarios.definitions import DefinitionsInMemory
from halter.scenarios.memory import MemoryEngine
from halter.workflow import (
    Expr,
    ExternalEventDef,
    TaskDef,
    Thread,
    ThreadFunction,
    Variable,
    Workflow,
    WorkflowEventDef,
    expr,
    thread_name,
    variable,
)
from halter.workflow.arguments import WrongOperand
from halter.workflow.expressions import Computed
from halter.workflow.source import NotWritable, source_of
from processors.core.records.commands import (
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    PutWorkflowEventDef,
    RunWf,
)
from processors.core.records.events import ThreadCompleted
from processors.core.records.spec import (
    Expression,
    WfSpec,
)
from processors.core.records.values import VariableType
from processors.core.rules.context import Context
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.validate import check_document
from processors.core.wf_spec.writer import canonical
from tests.core.test_documents import EXPRESSIONS
from tests.support.command_line import halter
from tests.support.random_specs import documents

ROOT: Final = Path(__file__).parents[2]
total = Variable("total", int, default=0)
items = Variable("items", list, default=[])


def nodes_of(*functions: ThreadFunction) -> dict[str, Any]:
    """Return the nodes that the first thread function writes, as a document has them."""
    main, *also = functions
    found: dict[str, Any] = Workflow("w", main, also=also).document["threads"][main.__name__]["nodes"]
    return found


def document(text: str) -> Any:
    return yaml.safe_load(textwrap.dedent(text))


# What statements write.


def test_nodes_follow_each_other_and_an_exit_ends_them() -> None:
    def main(thread: Thread) -> None:
        thread.declare(total)
        thread.wait_for_event("checkout", timeout_s=3600)
        thread.assign(total, total + 1)
        thread.sleep(10)

    assert nodes_of(main) == document("""
        start: {kind: ENTRYPOINT, next: checkout}
        checkout:
          kind: EXTERNAL_EVENT
          event: checkout
          timeout_s: 3600
          next: {to: sleep, set: [{var: total, op: ASSIGN, value: {add: [{var: total}, 1]}}]}
        sleep: {kind: SLEEP, seconds: 10, next: exit}
        exit: {kind: EXIT}
    """)


def test_a_choice_stands_on_the_edges_of_the_node_before_it() -> None:
    def main(thread: Thread) -> None:
        thread.declare(total)
        with thread.if_(total > 5):
            thread.subtract(total, 1)
        with thread.elif_(total == 5):
            thread.sleep(1, name="nap")
        with thread.else_():
            thread.fail("too-little")

    assert nodes_of(main) == document("""
        start:
          kind: ENTRYPOINT
          next:
            - {to: exit, when: {gt: [{var: total}, 5]}, set: [{var: total, op: SUBTRACT, value: 1}]}
            - {to: nap, when: {eq: [{var: total}, 5]}}
            - too-little
        nap: {kind: SLEEP, seconds: 1, next: exit}
        too-little: {kind: EXIT, fail: {name: too-little}}
        exit: {kind: EXIT}
    """)


def test_a_condition_sees_the_mutations_before_it() -> None:
    """Conditions of an edge are looked at before its mutations, so a node stands between."""

    def main(thread: Thread) -> None:
        thread.declare(total)
        thread.assign(total, 7)
        with thread.if_(total == 7):
            thread.exit(name="seven")
        thread.exit(name="other")

    found = nodes_of(main)
    assert found["start"]["next"] == {"to": "if", "set": [{"var": "total", "op": "ASSIGN", "value": 7}]}
    assert [it if isinstance(it, str) else it["to"] for it in found["if"]["next"]] == ["seven", "other"]


def test_a_goto_may_lead_to_what_is_written_further_down() -> None:
    def main(thread: Thread) -> None:
        thread.declare(total)
        first = thread.nop("first")
        with thread.if_(total > 3):
            thread.goto("last")
        thread.add(total, 1)
        thread.nop("second")
        thread.goto(first)
        thread.exit(name="last")

    found = nodes_of(main)
    assert found["second"]["next"] == "first"
    assert found["first"]["next"][0]["to"] == "last"


def test_children_interrupts_and_handlers_are_found_from_the_entrypoint() -> None:
    def on_add(thread: Thread) -> None:
        item = thread.input(dict)
        thread.extend(items, item)
        thread.add(total, item["quantity"] * item["price_cents"])

    @thread_name("wait_for_slot")
    def child(thread: Thread) -> None:
        thread.wait_for_event("slot", name="choose")

    def tell(thread: Thread) -> None:
        thread.throw("told", total)

    def main(thread: Thread) -> None:
        thread.declare(total, items)
        thread.interrupt("item-added", on_add, policy="latest", preemptive=True)
        started = thread.start_thread(child)
        each = thread.start_threads(child, over=[1, 2])
        thread.wait_for_threads([started], strategy="ANY", on_child_failure={"late": tell})
        paid = thread.task("charge", {"name": total}, cents=total, retries=2)
        thread.on_failure(paid, tell, catch="card-declined")
        thread.wait_for_threads(each)

    found = Workflow("w", main).document["threads"]
    assert list(found) == ["main", "on-add", "wait_for_slot", "tell"]
    assert found["main"]["interrupts"] == document(
        "[{event: item-added, handler: on-add, policy: latest, preemptive: true}]"
    )
    assert found["main"]["nodes"]["charge"] == document("""
        kind: TASK
        task: charge
        input: {name: {var: total}, cents: {var: total}}
        retries: 2
        next: wait-for-threads-2
        on_failure: [{catch: card-declined, handler: tell}]
    """)
    assert found["main"]["nodes"]["wait-for-threads"]["on_child_failure"] == [{"catch": "late", "handler": "tell"}]


def test_each_thread_function_is_run_once_also_in_a_circle() -> None:
    runs = []

    def main(thread: Thread) -> None:
        runs.append("main")
        thread.start_thread(other)

    def other(thread: Thread) -> None:
        runs.append("other")
        thread.start_thread(main)

    assert list(Workflow("w", main).document["threads"]) == ["main", "other"]
    assert runs == ["main", "other"]


# What is registered with it.


def test_definitions_and_decorated_functions_are_registered_with_the_workflow() -> None:
    worker = TaskWorker()

    @worker.task("charge-card")
    def charge_card(card: str, cents: int, task: Task, note: str | None = None) -> float:
        raise BusinessException("card-declined")

    def main(thread: Thread) -> None:
        thread.declare(total)
        thread.interrupt(ExternalEventDef("stop", str), end)
        thread.task(charge_card, card="c", cents=total)
        thread.task(TaskDef("mail", {"to": str}, queue="slow"), to="me")
        thread.task("registered-elsewhere")
        thread.throw(WorkflowEventDef("told"))

    def end(thread: Thread) -> None:
        thread.input(str)

    *before, last = Workflow("w", main).commands()
    assert before == [
        PutExternalEventDef("stop", VariableType.STR),
        PutTaskDef(
            "charge-card",
            {"card": VariableType.STR, "cents": VariableType.INT, "note": VariableType.STR},
            VariableType.DOUBLE,
            optional=["note"],
        ),
        PutTaskDef("mail", {"to": VariableType.STR}, None, "slow"),
        PutWorkflowEventDef("told", None),
    ]
    assert isinstance(last, PutWfSpec)


# What is wrong is told with its line.


def told(*functions: ThreadFunction) -> list[tuple[int, str]]:
    """Return the problems of a workflow, each with its line counted from that of the first function."""
    with pytest.raises(InvalidDefinitions) as refused:
        _ = Workflow("w", *functions).wf_spec
    first = functions[0].__code__.co_firstlineno
    assert {Path(it.file).absolute() for it in refused.value.problems} == {Path(__file__)}
    return [(it.line - first, it.message) for it in refused.value.problems]


def test_what_the_core_refuses_is_told_where_it_was_written() -> None:
    def handler(thread: Thread) -> None:
        thread.assign(total, thread.input(str))

    def main(thread: Thread) -> None:
        thread.declare(total)
        thread.interrupt("e", handler)
        with thread.if_(variable("totl") > 1):
            thread.task("charge", cents=total)
            thread.goto("nowhere")
        thread.sleep("soon")

    below = [(line, message.split(": ")[0]) for line, message in told(main)]
    assert below == [
        (-2, "threads.handler.nodes.start.next.set[0]"),
        (3, "threads.main.nodes.start.next[0].when.gt[0].var"),
        (5, "threads.main.nodes.charge.next"),
        (6, "threads.main.nodes.sleep.seconds"),
    ]
    assert told(main)[0][1].endswith("expected INT, found STR: write `.cast(int)`"), "as programs say it"


def _decides_in_python(thread: Thread) -> None:
    thread.declare(total)
    if total > 1:
        thread.exit()


def _says_something_behind_the_end(thread: Thread) -> None:
    thread.exit()
    thread.assign(total, 1)


def _has_else_without_if(thread: Thread) -> None:
    thread.nop()
    with thread.else_():
        thread.nop()


def _breaks_out_of_nothing(thread: Thread) -> None:
    thread.nop()
    thread.break_()


def _names_two_nodes_alike(thread: Thread) -> None:
    thread.nop("a")
    thread.nop("a")


def _calls_a_function_a_task(thread: Thread) -> None:
    thread.nop()
    thread.task(print)


def _mixes_values(thread: Thread) -> None:
    thread.declare(total)
    thread.assign(total, {"x": total})


def _asks_python_for_an_item(thread: Thread) -> None:
    thread.declare(items)
    thread.wait_until(1 in items)


def _bounds_an_attempt_twice(thread: Thread) -> None:
    thread.nop()
    thread.task("t", timeout_s=5, run_timeout_s=5)


def _defines_twice(thread: Thread) -> None:
    thread.wait_for_event(ExternalEventDef("e", int))
    thread.wait_for_event(ExternalEventDef("e", str))


def _forgets_with(thread: Thread) -> None:
    thread.declare(total)
    thread.if_(total > 1)
    thread.exit()


def _writes_an_expression_into_a_text(thread: Thread) -> None:
    thread.declare(total)
    thread.fail("too-much", f"the total is {total}")


def _has_a_default_of_no_zone(thread: Thread) -> None:
    when = datetime(2026, 1, 1)  # noqa: DTZ001  the mistake
    thread.declare(Variable("when", datetime, default=when))


def _has_a_default_that_is_no_value(thread: Thread) -> None:
    thread.nop()
    thread.declare(Variable("some", list, default={1, 2}))


def _assigns_what_json_has_not(thread: Thread) -> None:
    thread.declare(total)
    thread.assign(total, math.nan)


def _assigns_to_a_name(thread: Thread) -> None:
    thread.nop()
    thread.assign("total", 1)  # type: ignore[arg-type]


def _misspells_a_policy(thread: Thread) -> None:
    thread.nop()
    thread.interrupt("e", lambda _: None, policy="lastest")


def _misspells_a_statement(thread: Thread) -> None:
    thread.nop()
    thread.tsk("greet")  # type: ignore[attr-defined]


def _calls_a_statement_as_python_would(thread: Thread) -> None:
    thread.declare(total)
    thread.append(total, 1)  # type: ignore[attr-defined]


def _gives_an_input_for_the_name(thread: Thread) -> None:
    thread.declare(total)
    thread.task("greet", name=total)  # type: ignore[arg-type]


def _nests_without_end(thread: Thread) -> None:
    thread.declare(total)
    thread.assign(total, reduce(lambda sum_, _: (sum_ * 2) + 1, range(2_000), total + 1))


def _doubles_without_end(thread: Thread) -> None:
    thread.declare(total)
    thread.assign(total, reduce(lambda sum_, _: sum_ + sum_, range(30), total + 1))


async def _waits_in_python(thread: Thread) -> None:
    thread.task("charge")


def _yields(thread: Thread) -> Iterator[None]:
    thread.task("charge")
    yield


def _returns_a_result(thread: Thread) -> object:
    return thread.task("charge")


def _throws_an_external_event(thread: Thread) -> None:
    thread.declare(total, items)
    thread.throw(ExternalEventDef("e"))  # type: ignore[arg-type]


def _waits_for_a_workflow_event(thread: Thread) -> None:
    thread.declare(total, items)
    thread.wait_for_event(WorkflowEventDef("e"))  # type: ignore[arg-type]


def _says_half_a_letter(thread: Thread) -> None:
    thread.declare(total, items)
    thread.exit("\ud800")


def _asks_python_for_a_length(thread: Thread) -> None:
    thread.declare(total, items)
    thread.exit(len(items))  # type: ignore[arg-type]


def _counts_in_python(thread: Thread) -> None:
    thread.declare(total, items)
    for _ in range(total):  # type: ignore[call-overload]
        thread.nop()


def _casts_in_python(thread: Thread) -> None:
    thread.declare(total, items)
    thread.exit(int(total))  # type: ignore[call-overload]


def _writes_into_a_variable(thread: Thread) -> None:
    thread.declare(total, items)
    items[0] = 1  # type: ignore[index]


def _adds_in_python(thread: Thread) -> None:
    sum_ = total
    sum_ += 1  # type: ignore[assignment]


def _misspells_an_argument(thread: Thread) -> None:
    thread.declare(total, items)
    thread.wait_for_event("paid", timeout=5)  # type: ignore[call-arg]


def _asks_for_an_attribute(thread: Thread) -> None:
    thread.declare(total, items)
    thread.exit(items.price)  # type: ignore[attr-defined]


def _divides_without_rest(thread: Thread) -> None:
    thread.declare(total, items)
    thread.exit(total // 2)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_doubles_without_end, "expected expressions of at most 131,072 parts, found 262,143"),
        (_nests_without_end, "expected expressions at most 32 deep, found more"),
        (_forgets_with, "expected `with` before thread.if_(…)"),
        (_writes_an_expression_into_a_text, "format_("),
        (_has_a_default_of_no_zone, "default of 'when': expected a datetime with a zone"),
        (_has_a_default_that_is_no_value, "default of 'some'"),
        (_assigns_what_json_has_not, "a number that JSON has"),
        (_assigns_to_a_name, "expected a Variable"),
        (_misspells_a_policy, "expected one of parallel, serial, latest"),
        (_misspells_a_statement, "AttributeError: 'Thread' object has no attribute 'tsk' (did you mean task?)"),
        (_calls_a_statement_as_python_would, "'Thread' object has no attribute 'append' (did you mean extend?)"),
        (_gives_an_input_for_the_name, "expected a name for the node"),
        (_decides_in_python, "the WfRun computes it"),
        (_says_something_behind_the_end, "nothing leads here"),
        (_has_else_without_if, "directly behind the block of an if_"),
        (_breaks_out_of_nothing, "inside of a while_"),
        (_names_two_nodes_alike, "two nodes are named 'a'"),
        (_calls_a_function_a_task, "@worker.task"),
        (
            _mixes_values,
            'cannot stand inside a mapping; build it in a Variable: `thread.assign(order["cents"], cents)`',
        ),
        (_misspells_an_argument, "unexpected keyword argument 'timeout' (did you mean timeout_s?)"),
        (_asks_python_for_an_item, "items.contains"),
        (_bounds_an_attempt_twice, "found both"),
        (_defines_twice, "ExternalEventDef e is defined twice, differently"),
        (_throws_an_external_event, "expected a WorkflowEventDef to throw, found ExternalEventDef 'e'"),
        (_waits_for_a_workflow_event, "expected an ExternalEventDef, found WorkflowEventDef 'e', which is for `throw`"),
        (_says_half_a_letter, r"half of a surrogate pair ('\ud800')"),
        (_asks_python_for_a_length, "items.size()"),
        (_counts_in_python, "`with thread.while_(…):` to do something so many times"),
        (_casts_in_python, "it.cast(int)"),
        (_writes_into_a_variable, "thread.assign(it[0], …)"),
        (_adds_in_python, "thread.add(total, …)"),
        (_asks_for_an_attribute, 'write ["price"] for a value inside'),
        (_divides_without_rest, "write `/`, which drops the fraction"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_statement_that_cannot_be_written_down_is_told_with_its_line(function: ThreadFunction, sentence: str) -> None:
    [(line, message)] = told(function)
    assert line == 2
    assert sentence in message


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (_waits_in_python, "found `async def`: write `def` alone"),
        (_yields, "found one with `yield`: write `def` alone"),
        (_returns_a_result, "found Output: `thread.exit(value)` makes a value the output of the thread"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_what_a_thread_function_would_lose_is_told(function: Any, found: str) -> None:
    [(line, message)] = told(function)
    assert line == 0
    assert found in message


def test_a_thread_function_may_end_by_returning_its_exit() -> None:
    def main(thread: Thread) -> object:
        with thread.if_(expr("1 > 0")):
            thread.exit("early")
        return thread.exit("late")

    assert set(Workflow("w", main).wf_spec.threads["main"].nodes) == {"start", "exit", "exit-2"}  # type: ignore[arg-type]


def test_an_expression_may_be_as_deep_as_a_document_may_have_it() -> None:
    deepest = reduce(lambda sum_, _: sum_ + 1, range(32), total)

    def main(thread: Thread) -> None:
        thread.declare(total)
        thread.assign(total, deepest)

    assert Workflow("w", main).wf_spec
    with pytest.raises(WrongOperand, match="at most 32 deep"):
        _ = deepest + 1


def test_a_datetime_is_the_default_of_a_timestamp() -> None:
    def main(thread: Thread) -> None:
        thread.declare(Variable("when", datetime, default=datetime(2026, 1, 1, 0, 0, 0, 1_000, tzinfo=UTC)))

    declared = Workflow("w", main).document["threads"]["main"]["variables"]
    assert declared["when"]["default"] == "2026-01-01T00:00:00.001Z"


def test_an_expression_may_be_written_as_text() -> None:
    total, item = Variable("total", int), variable("INPUT")
    assert expr("total + INPUT.quantity * INPUT.price").tree == (total + item["quantity"] * item["price"]).tree
    with pytest.raises(WrongOperand, match=r"'total \+': expected a value, found the end, at column 8 of the text"):
        expr("total +")
    with pytest.raises(WrongOperand, match="an expression: expected text, found int"):
        expr(5)  # type: ignore[arg-type]


def test_a_sign_means_the_same_in_python_and_in_a_text() -> None:
    assert (-Variable("total", int)).tree == expr("-total").tree


def test_a_text_that_is_no_expression_is_told_with_its_line() -> None:
    def main(thread: Thread) -> None:
        thread.wait_until(expr("total >= and"))

    with pytest.raises(InvalidDefinitions, match=r"test_workflow.py:\d+:1: 'total >= and': .*at column 10 of the text"):
        _ = Workflow("w", main).wf_spec


def test_a_type_that_no_variable_has_is_an_error_at_once() -> None:
    for made in (
        lambda: Variable("x", set),  # type: ignore[arg-type]
        lambda: ExternalEventDef("x", set),  # type: ignore[arg-type]
        lambda: WorkflowEventDef("x", set),  # type: ignore[arg-type]
        lambda: TaskDef("x", {"y": set}),  # type: ignore[dict-item]
        lambda: TaskDef("x", None, set),  # type: ignore[arg-type]
    ):
        with pytest.raises(WrongOperand, match="expected a type of a Variable"):
            made()


# It runs as it reads: random programs, by Python and by the rules.

A, B = Variable("a", int, default=0), Variable("b", int, default=0)
Program = list[Any]
NUMBERS: Final = st.integers(-3, 3)
CONDITIONS: Final = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["lt", "gt", "eq"]), NUMBERS)
CHANGES: Final = st.tuples(st.just("change"), st.sampled_from(["a", "b"]), st.sampled_from(["assign", "add"]), NUMBERS)
SIMPLE: Final = st.one_of(
    CHANGES, CHANGES, st.just(("nop",)), st.just(("break",)), st.just(("continue",)), st.just(("exit",))
)


def _blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    block = st.lists(inner, max_size=3)
    choice = st.tuples(st.just("if"), CONDITIONS, block, st.none() | st.tuples(CONDITIONS, block), st.none() | block)
    return st.one_of(choice, st.tuples(st.just("while"), CONDITIONS, block))


PROGRAMS: Final = st.lists(st.recursive(SIMPLE, _blocks, max_leaves=12), max_size=5)
ROUNDS_MAX: Final = 5


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Exit(Exception):
    pass


def by_python(program: Program) -> tuple[int, int]:
    """Run a program by Python, and return what a and b are then."""
    state, rounds = {"a": 0, "b": 0}, 0

    def holds(condition: Any) -> bool:
        name, relation, number = condition
        found: bool = getattr(operator, relation)(state[name], number)
        return found

    def run(statements: Program, *, looping: bool) -> None:
        nonlocal rounds
        for statement in statements:
            match statement:
                case ("change", name, how, number):
                    state[name] = number if how == "assign" else state[name] + number
                case ("break",) if looping:
                    raise _Break
                case ("continue",) if looping:
                    raise _Continue
                case ("exit",):
                    raise _Exit
                case ("if", condition, then, elif_, else_):
                    if holds(condition):
                        run(then, looping=looping)
                    elif elif_ is not None and holds(elif_[0]):
                        run(elif_[1], looping=looping)
                    else:
                        run(else_ or [], looping=looping)
                case ("while", condition, block):
                    while holds(condition):
                        rounds += 1
                        if rounds > ROUNDS_MAX:
                            raise _Exit
                        try:
                            run(block, looping=True)
                        except _Continue:
                            continue
                        except _Break:
                            break

    with suppress(_Exit):
        run(program, looping=False)
    return state["a"], state["b"]


def written(program: Program) -> ThreadFunction:
    """Return the thread function of a program."""
    rounds = Variable("rounds", int, default=0)

    def condition_of(condition: Any) -> Expr:
        name, relation, number = condition
        found: Expr = getattr(operator, relation)({"a": A, "b": B}[name], number)
        return found

    def write(thread: Thread, statements: Program, *, looping: bool) -> bool:
        """Return False if nothing leads behind the statements."""
        for statement in statements:
            match statement:
                case ("change", name, how, number):
                    getattr(thread, how)({"a": A, "b": B}[name], number)
                case ("nop",):
                    thread.nop()
                case ("break",) if looping:
                    thread.break_()
                    return False
                case ("continue",) if looping:
                    thread.continue_()
                    return False
                case ("exit",):
                    thread.exit([A, B])
                    return False
                case ("if", condition, then, elif_, else_):
                    goes_on = []
                    with thread.if_(condition_of(condition)):
                        goes_on.append(write(thread, then, looping=looping))
                    if elif_ is not None:
                        with thread.elif_(condition_of(elif_[0])):
                            goes_on.append(write(thread, elif_[1], looping=looping))
                    if else_ is not None:
                        with thread.else_():
                            goes_on.append(write(thread, else_, looping=looping))
                        if not any(goes_on):
                            return False
                case ("while", condition, block):
                    with thread.while_(condition_of(condition)):
                        thread.add(rounds, 1)
                        with thread.if_(rounds > ROUNDS_MAX):
                            thread.exit([A, B])
                        write(thread, block, looping=True)
        return True

    def main(thread: Thread) -> None:
        thread.declare(A, B, rounds)
        if write(thread, program, looping=False):
            thread.exit([A, B])

    return main


@given(PROGRAMS)
def test_a_program_does_what_it_would_do_in_python(program: Program) -> None:
    engine = MemoryEngine(Context(DefinitionsInMemory()), 0)
    assert engine.register(Workflow("w", written(program)).commands()) == []
    entries = engine.put(RunWf("x", "w"))
    [ended] = [it.event for it in entries if isinstance(it.event, ThreadCompleted)]
    assert ended.output == list(by_python(program))


# And back.


def ran(program: str) -> Workflow:
    names: dict[str, Any] = {}
    exec(compile(program, "generated.py", "exec"), names)
    found: Workflow = names["workflow"]
    return found


def comes_back(wf_spec: WfSpec) -> bool:
    program = source_of(wf_spec)
    compile(program, "generated.py", "exec")
    return canonical(ran(program).wf_spec) == canonical(wf_spec)


def scenario_wf_specs() -> list[WfSpec]:
    files = sorted((ROOT / "tests" / "scenarios").rglob("*.yaml"))
    found = [it for file in files for it in (read_yaml(file).data or {}).get("wf_specs", [])]
    checked = [check_document(it, None)[0] for it in found if isinstance(it, dict)]
    return [it for it in checked if it is not None]


def test_every_wf_spec_of_the_scenarios_comes_back_from_python() -> None:
    wf_specs = scenario_wf_specs()
    assert len(wf_specs) > 300
    assert [it.document for it in wf_specs if not comes_back(it)] == []


@given(documents())
def test_every_wf_spec_comes_back_from_python(definitions: dict[str, Any]) -> None:
    wf_spec, problems = check_document(definitions["wf_specs"][0], None)
    if wf_spec is not None:
        assert comes_back(wf_spec)
    else:
        assert problems


@given(EXPRESSIONS)
def test_every_expression_comes_back_from_python(tree: Expression) -> None:
    """Also one that no type check would let pass: the text of it is what is compared."""

    def main(thread: Thread) -> None:
        thread.declare(total, items)
        thread.task("ask", name="asked")
        thread.assign(items, Computed(tree))

    raw = _unchecked(main)
    assert _unchecked_of(source_of(raw)).threads["main"] == raw.threads["main"]


def _unchecked(main: ThreadFunction) -> WfSpec:
    """Return the WfSpec as it is written down, whatever the core would say of it."""
    from halter.workflow.drafts import ThreadDraft
    from halter.workflow.places import here

    draft = ThreadDraft("main", here())
    thread = Thread(draft, lambda it: it.__name__, lambda _command, _place: None)
    main(thread)
    thread.end(here())
    return WfSpec("w", "main", {"main": draft.done()})


def _unchecked_of(program: str) -> WfSpec:
    names: dict[str, Any] = {}
    exec(compile(program, "generated.py", "exec"), names)
    return _unchecked(names["main"])


def test_an_edge_that_can_never_be_taken_is_no_program() -> None:
    wf_spec, _ = check_document(
        document("""
            name: w
            entrypoint: main
            threads:
              main: {nodes: {start: {kind: ENTRYPOINT, next: [a, b]}, a: {kind: EXIT}, b: {kind: EXIT}}}
        """),
        None,
    )
    assert wf_spec is not None
    with pytest.raises(NotWritable, match="expected the edge without a condition to be the last"):
        source_of(wf_spec)


def test_names_of_python_are_given_to_nothing_else() -> None:
    wf_spec, problems = check_document(
        document("""
            name: w
            entrypoint: class
            threads:
              class:
                variables:
                  {thread: {type: INT}, Variable: {type: INT}, print: {type: INT}, a-b: {type: INT}, a_b: {type: INT}}
                nodes:
                  start: {kind: ENTRYPOINT, next: {to: t, set: [{var: a_b, op: ASSIGN, value: {var: a-b}}]}}
                  t: {kind: TASK, task: t, input: {retries: {var: print}, class: {var: Variable}}, next: e}
                  e: {kind: EXIT, return: {output: t}}
        """),
        None,
    )
    assert problems == []
    assert wf_spec is not None
    assert comes_back(wf_spec)


# At the command line.

SHOP: Final = """
from halter import Workflow
from halter.workflow import ExternalEventDef, Thread, Variable

total = Variable("total", int, default=0)

def main(thread: Thread) -> None:
    thread.declare(total)
    thread.wait_for_event(ExternalEventDef("checkout"))

cart = Workflow("cart", main)

def broken(thread: Thread) -> None:
    thread.assign(total, 1)

bad = Workflow("bad", broken)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "shop_flows", raising=False)  # that of another test
    (tmp_path / "shop_flows.py").write_text(SHOP)
    return tmp_path


def test_check_and_show_take_a_workflow(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    code, printed, _ = halter(capsys, "spec", "check", "shop_flows:cart")
    assert (code, printed) == (
        0,
        "shop_flows.py: ok, 1 ExternalEventDef, WfSpec cart of 1 ThreadSpec\n",
    )
    code, printed, error = halter(capsys, "spec", "show", "shop_flows.py:cart")
    assert (code, error) == (0, "")
    assert json.loads(printed)["threads"]["main"]["nodes"]["checkout"]["event"] == "checkout"
    code, printed, _ = halter(capsys, "spec", "show", "shop_flows:cart", "--python")
    assert code == 0
    assert ran(printed).document["name"] == "cart"
    code, printed, _ = halter(capsys, "spec", "check", "shop_flows:bad")
    assert code == 1
    assert "shop_flows.py:14:1: threads.broken.nodes.start.next.set[0].var" in printed


def test_a_workflow_that_is_not_there_is_told_with_what_is(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    code, _, error = halter(capsys, "spec", "check", "shop_flows:crat")
    assert code == 1
    assert "expected a Workflow under the name 'crat' in shop_flows, found nothing (did you mean cart?)" in error
    code, _, error = halter(capsys, "spec", "check", "shop_flows.py")
    assert code == 2
    assert "expected the name of a Workflow behind a module, as in shop_flows.py:cart" in error


@pytest.mark.parametrize(
    ("before", "after", "line", "sentence"),
    [
        ('"total", int', '"total", "int"', 5, "expected a type of a Variable"),
        ("def broken", 'ExternalEventDef("paid", "int")\ndef broken', 13, "expected a type of a Variable"),
        ("def broken", "assert total == 0\ndef broken", 13, "an expression has no value in the program"),
        ("def broken", 'expr("total >= and")\ndef broken', 13, "'total >= and': "),
    ],
)
def test_a_mistake_outside_of_the_thread_functions_has_its_line(
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    line: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(shop)
    program = SHOP.replace("Variable\n", "Variable, expr\n", 1).replace(before, after)
    (shop / "shop_flows.py").write_text(program)
    for target in ("shop_flows:cart", "shop_flows.py:cart", "shop_flows.py"):
        code, _, error = halter(capsys, "spec", "check", target)
        assert (code, error[: len("halter: ")]) == (1, "halter: ")
        assert error.removeprefix("halter: ").startswith(f"shop_flows.py:{line}:1: {sentence}")


def test_the_program_of_the_page_runs_and_its_mistake_is_told_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "page_shop").mkdir()
    (tmp_path / "page_shop" / "workflows.py").write_text(program)
    (tmp_path / "page_shop" / "wrong.py").write_text(program.replace("cents=total", "cents=items"))
    monkeypatch.chdir(tmp_path)
    assert halter(capsys, "spec", "check", "page_shop/workflows.py:cart")[0] == 0
    code, printed, _ = halter(capsys, "spec", "check", "page_shop/wrong.py:cart")
    assert code == 1
    assert printed.replace("page_shop/wrong.py", "shop/workflows.py") in page


# The example.


def test_the_cart_of_the_examples_is_the_same_in_python_and_in_yaml() -> None:
    made = ran((ROOT / "examples" / "cart" / "workflow.py").read_text())
    assert said(made.commands()) == said(read_definition_file(ROOT / "examples" / "cart" / "cart.yaml").commands)


def said(commands: list[Any]) -> set[str]:
    """Return definitions without their order, and WfSpecs as they are stored."""
    found = set()
    for it in commands:
        wf_spec = None
        if isinstance(it, PutWfSpec):
            wf_spec, _ = check_document(parse_json_document(it.document), None)
            assert wf_spec is not None
        found.add(repr(it) if wf_spec is None else canonical(wf_spec))
    return found
