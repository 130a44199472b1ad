"""Handlers with typed parameters: what they are given, how they are compared with TaskDefs, and what they return."""

import asyncio
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from halter.task_worker import BusinessException, Task, TaskWorker, WorkerNotStarted
from halter.task_worker.handlers import typed
from halter.task_worker.shapes import Unfit
from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition, TaskRequest
from processors.core.records.values import Timestamp, Value, VariableType

INT, DOUBLE, BOOL, STR = VariableType.INT, VariableType.DOUBLE, VariableType.BOOL, VariableType.STR
BYTES, OBJ, ARR, TIME = VariableType.BYTES, VariableType.JSON_OBJ, VariableType.JSON_ARR, VariableType.TIMESTAMP


class Size(enum.Enum):
    SMALL = "S"
    LARGE = "L"


@dataclass
class Item:
    sku: str
    cents: int = 0
    tags: list[str] = field(default_factory=list)


@dataclass
class Order:
    items: list[Item]
    size: Size | None = None


class Address(TypedDict):
    street: str
    number: NotRequired[int]


class Tree(TypedDict):
    children: "list[Tree]"


def called(function: Any, /, **inputs: Value) -> Any:
    """What a handler returns for these inputs."""
    return typed("t", function).run(Task(inputs, TaskRequest("w", 1, 0, 1, 2, "t", dict(inputs), 0, 5_000)))


def annotated(annotation: Any) -> Any:
    def handler(it: Any) -> Any:
        handler.got = it  # type: ignore[attr-defined]

    handler.__annotations__["it"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "given", "got"),
    [
        (str, "x", "x"),
        (int, 5, 5),
        (float, 5, 5.0),
        (bool, True, True),
        (bytes, b"x", b"x"),
        (Any, {"a": [1]}, {"a": [1]}),
        (object, None, None),
        (None, None, None),
        (str | None, None, None),
        (int | str, "x", "x"),
        (list, [1, "a"], [1, "a"]),
        (list[int], [1, 2], [1, 2]),
        (Sequence[float], [1, 2.5], [1.0, 2.5]),
        (tuple[str, ...], ["a"], ("a",)),
        (dict, {"a": 1}, {"a": 1}),
        (Mapping[str, Item], {"a": {"sku": "m"}}, {"a": Item("m")}),
        (dict[str, Value], {"a": [None]}, {"a": [None]}),
        (Value, {"a": [None]}, {"a": [None]}),
        (Timestamp, Timestamp(5), Timestamp(5)),
        (datetime, Timestamp(1_500), datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
        (Literal["a", 5], 5, 5),
        (Size, "L", Size.LARGE),
        (Annotated[int, "cents"], 5, 5),
        (Item, {"sku": "m", "colour": "red"}, Item("m")),
        (Order, {"items": [{"sku": "m", "cents": 5}], "size": "S"}, Order([Item("m", 5)], Size.SMALL)),
        (Order | None, {"items": []}, Order([])),
        (Address, {"street": "Mill Lane", "more": 1}, {"street": "Mill Lane"}),
    ],
)
def test_an_input_becomes_what_the_annotation_says(annotation: Any, given: Value, got: object) -> None:
    handler = annotated(annotation)
    called(handler, it=given)
    assert handler.got == got
    assert type(handler.got) is type(got)


@pytest.mark.parametrize(
    ("annotation", "given", "sentence"),
    [
        (str, 5, "it: expected str, found INT"),
        (str, None, "it: expected str, found null"),
        (int, True, "it: expected int, found BOOL"),
        (int, 5.0, "it: expected int, found DOUBLE"),
        (float, "5", "it: expected float, found STR"),
        (None, 5, "it: expected None, found INT"),
        (int | None, "x", "it: expected int | None, found STR"),
        (list[int], [1, "x"], "it[1]: expected int, found STR"),
        (list[int], {}, "it: expected list[int], found JSON_OBJ"),
        (dict[str, int], {"secret": "x"}, "it[…]: expected int, found STR"),
        (datetime, 5, "it: expected datetime, found INT"),
        (datetime, Timestamp(2**62), "it: expected a time in the years 1 to 9999, found another"),
        (Literal["a", "b"], "secret", "it: expected one of 'a', 'b', found another STR"),
        (Literal[1], True, "it: expected one of 1, found BOOL"),
        (Size, "secret", "it: expected Size, found another STR"),
        (Size, ["secret"], "it: expected Size, found JSON_ARR"),
        (Item, {}, "it.sku: expected str, found nothing"),
        (Order, {"items": [{"sku": "m"}, {"sku": 5}]}, "it.items[1].sku: expected str, found INT"),
        (Order | None, {"items": 5}, "it.items: expected list[Item], found INT"),
        (Address, {"street": "a", "number": "b"}, "it.number: expected int, found STR"),
    ],
)
def test_an_input_that_does_not_fit_is_told_without_its_value(annotation: Any, given: Value, sentence: str) -> None:
    with pytest.raises(Unfit) as unfit:
        called(annotated(annotation), it=given)
    assert str(unfit.value) == sentence
    assert "secret" not in str(unfit.value)


def test_a_handler_gets_the_attempt_where_it_asks_for_it() -> None:
    def handler(cents: int, task: Task, currency: str = "EUR", **others: str) -> Value:
        assert (task.wf_run_id, task.attempt, task.idempotency_key) == ("w", 2, "w/1/0/1")
        assert task.deadline == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
        assert task.seconds_left < 0
        return [cents, currency, dict(others)]

    assert called(handler, cents=5, note="x") == [5, "EUR", {"note": "x"}]
    assert called(handler, cents=5, currency="CHF") == [5, "CHF", {}]
    with pytest.raises(Unfit, match=r"cents: expected int, found no such input$"):
        called(handler)
    with pytest.raises(Unfit, match=r"task: .*, found no such input; annotate it with Task if it is for the attempt"):
        called(lambda task: task)


def test_a_handler_that_a_test_calls_without_an_attempt_gets_it_from_the_task_worker() -> None:
    def handler(cents: int, task: Task | None = None) -> Value:
        return None if task is None else task.attempt

    assert handler(5) is None
    assert called(handler, cents=5) == 2


def test_a_coroutine_is_typed_as_well() -> None:
    async def handler(item: Item) -> Item:
        await asyncio.sleep(0)
        return Item(item.sku, item.cents + 1)

    made = typed("t", handler)
    assert made.is_async
    request = TaskRequest("w", 1, 0, 1, 1, "t", {}, 0, 0)
    assert asyncio.run(made.run(Task({"item": {"sku": "m"}}, request))) == {"sku": "m", "cents": 1, "tags": []}


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (Order([Item("m")], Size.LARGE), {"items": [{"sku": "m", "cents": 0, "tags": []}], "size": "L"}),
        ((1, "a", None), [1, "a", None]),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), Timestamp(0)),
        ({"at": [Timestamp(5)]}, {"at": [Timestamp(5)]}),
    ],
)
def test_what_is_returned_becomes_a_value(returned: Any, value: Value) -> None:
    assert called(lambda: returned) == value


@pytest.mark.parametrize(
    ("annotation", "returned", "sentence"),
    [
        (int, "secret", "returned: expected int, as it is annotated, found STR"),
        (int, True, "returned: expected int, as it is annotated, found BOOL"),
        (Item, ["secret"], "returned: expected Item, as it is annotated, found JSON_ARR"),
        (int | None, 0.5, "returned: expected int | None, as it is annotated, found DOUBLE"),
    ],
)
def test_what_is_returned_is_of_the_type_that_is_annotated(annotation: Any, returned: Any, sentence: str) -> None:
    def handler() -> Any:
        return returned

    async def waiting() -> Any:
        return returned

    handler.__annotations__["return"] = waiting.__annotations__["return"] = annotation
    task = Task({}, TaskRequest("w", 1, 0, 1, 1, "t", {}, 0, 0))
    with pytest.raises(Unfit) as unfit:
        typed("t", handler).run(task)
    assert str(unfit.value) == sentence
    with pytest.raises(Unfit) as unfit:
        asyncio.run(typed("t", waiting).run(task))
    assert str(unfit.value) == sentence


@pytest.mark.parametrize(("annotation", "returned"), [(float, 1), (int, None), (Value, "x"), (None, 5), (Size, "L")])
def test_what_may_be_stored_as_it_is_annotated_is_no_mistake(annotation: Any, returned: Any) -> None:
    def handler() -> Any:
        return returned

    handler.__annotations__["return"] = annotation
    assert called(handler) == returned


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(Unfit, match="expected a datetime that has a zone"):
        called(lambda: datetime(2026, 1, 1))  # noqa: DTZ001  a user's mistake


def task_def(inputs: dict[str, VariableType] | None, output: VariableType | None = None) -> Definition:
    return Definition(DefinitionKind.TASK_DEF, "charge", 1, 0, input=inputs, output=output)


def mismatches(function: Any, inputs: dict[str, VariableType] | None, output: VariableType | None = None) -> list[str]:
    compare = typed("charge", function).mismatches
    assert compare is not None
    return [it.removeprefix(f"@task('charge') {function.__name__}: ") for it in compare(task_def(inputs, output))]


NEAR = "parameter 'card': expected an input of the TaskDef (crad, cents), found none of that name (did you mean crad?)"


def charge(card: str, cents: int, at: datetime | None = None) -> str:
    return f"{card} {cents} {at}"


@pytest.mark.parametrize(
    ("inputs", "output", "sentences"),
    [
        (None, None, []),
        ({"card": STR, "cents": INT}, STR, []),
        ({"card": STR, "cents": INT, "at": TIME}, None, []),
        (
            {"crad": STR, "cents": INT},
            STR,
            [
                NEAR,
                "expected a parameter for the input 'crad' (STR), found none",
            ],
        ),
        ({"card": STR, "cents": DOUBLE}, STR, ["parameter 'cents': expected DOUBLE, as the TaskDef says, found int"]),
        ({"card": STR, "cents": INT, "at": INT}, STR,
         ["parameter 'at': expected INT, as the TaskDef says, found datetime | None"]),
        ({"card": STR, "cents": INT}, ARR, ["returns str: expected JSON_ARR, the output of the TaskDef"]),
        ({"card": STR, "cents": INT, "note": STR}, STR,
         ["expected a parameter for the input 'note' (STR), found none"]),
    ],
)  # fmt: skip
def test_a_handler_is_compared_with_its_task_def(inputs: Any, output: Any, sentences: list[str]) -> None:
    assert mismatches(charge, inputs, output) == sentences


# (rule task-inputs-are-given)
def test_a_handler_need_not_have_an_optional_input_and_does_without_it() -> None:
    definition = Definition(
        DefinitionKind.TASK_DEF, "charge", 0, 1, input={"card": STR, "note": STR}, optional=["note"]
    )

    def before(card: str) -> None: ...

    def after(card: str, note: str = "") -> None: ...

    def cannot(card: str, note: str | None) -> None: ...

    def compared(function: Any) -> list[str]:
        compare = typed("charge", function).mismatches
        assert compare is not None
        return [it.partition(": ")[2] for it in compare(definition)]

    assert compared(before) == compared(after) == []
    assert compared(cannot) == ["parameter 'note': expected a default, as the input is optional, found none"]
    assert called(before, card="c", note="passed over") is None


def test_what_takes_everything_fits_every_task_def() -> None:
    def with_others(cents: float, **others: Value) -> float:
        return cents

    def with_task(task: Task) -> None: ...

    for function in (with_others, with_task):
        assert mismatches(function, {"cents": INT, "note": STR}, DOUBLE) == []


def test_an_attempt_without_an_annotation_is_told_what_to_do() -> None:
    def handler(attempt):  # type: ignore[no-untyped-def]
        return attempt

    (first, _) = mismatches(handler, {"cents": INT})
    assert first.endswith("annotate it with Task if it is for the attempt")


class Odd:
    """A class of a user."""


class Unhashable(enum.Enum):
    ONE = [1]  # noqa: RUF012  no handler can have it


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (Odd, "parameter 'it': expected str, int, .* or a union of these, found Odd"),
        (set[int], r"parameter 'it': expected str, int, .*, found set"),
        (tuple[int, str], "expected a list, or a tuple of any length with one type"),
        (Unhashable, "expected values that are str, int, bool or bytes in Unhashable, found others"),
        (dict[int, str], "expected a dict whose keys are str, found keys of int"),
        (Literal[b"x", "y"] | None, None),
        (Tree, "expected a class that does not contain itself, found Tree"),
        ("Missing", "the annotations of .* cannot be resolved: name 'Missing' is not defined"),
    ],
)
def test_an_annotation_that_no_value_fits_is_told_when_the_handler_is_made(annotation: Any, sentence: str | None):
    if sentence is None:
        assert typed("t", annotated(annotation))
        return
    with pytest.raises(WorkerNotStarted, match=sentence):
        TaskWorker().task("t")(annotated(annotation))


@pytest.mark.parametrize("function", [partial(charge, "card"), dict])
def test_what_has_no_annotations_is_told(function: Any) -> None:
    with pytest.raises(WorkerNotStarted, match="expected a function, or an object whose class has a __call__"):
        TaskWorker().task("t")(function)


def test_parameters_that_are_filled_by_place_are_told() -> None:
    for function in (lambda card, /: card, lambda *cards: cards):
        with pytest.raises(WorkerNotStarted, match="which is filled by place"):
            TaskWorker().task("t")(function)


def test_a_task_def_has_one_handler_with_a_name_that_can_be() -> None:
    worker = TaskWorker()
    assert worker.task("charge")(charge) is charge, "it can be called as it stands"
    with pytest.raises(WorkerNotStarted, match="expected one handler for a TaskDef, found a second one"):
        worker.task("charge")
    with pytest.raises(WorkerNotStarted, match=r"expected the name of a TaskDef.*found 'charge_card'"):
        worker.task("charge_card")
    with pytest.raises(WorkerNotStarted, match=r"expected the name of a TaskDef, found function"):
        worker.task(charge)  # type: ignore[arg-type]
    with pytest.raises(WorkerNotStarted, match="expected a function, found str"):
        worker.task("other")("charge")  # type: ignore[type-var]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "8", 10_001])
def test_concurrency_is_a_number(number: Any) -> None:
    with pytest.raises(WorkerNotStarted, match="concurrency: expected a number from 1 to 10000, found"):
        TaskWorker(concurrency=number)


def test_a_business_exception_passes_through() -> None:
    def handler() -> None:
        raise BusinessException("no-stock")

    with pytest.raises(BusinessException):
        called(handler)


def test_models_of_pydantic_are_read_and_returned() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed: nothing else of ours needs it")

    class Card(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        kind: Literal["card"]

    class Cash(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        kind: Literal["cash"]

    class Price(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        cents: int
        at: datetime | None = None
        discounts: dict[str, int] = {}  # noqa: RUF012  pydantic copies it
        paid: list[Annotated[Card | Cash, pydantic.Field(discriminator="kind")]] = []  # noqa: RUF012  as above

    def handler(price: Price) -> Price:
        return Price(cents=price.cents + 1)

    assert called(handler, price={"cents": 5}) == {"cents": 6, "at": None, "discounts": {}, "paid": []}
    wrong: list[tuple[str, Value, str]] = [
        ("cents", "secret", "price.cents: "),
        ("discounts", {"secret": "x"}, "price.discounts.…: "),
        ("paid", [{"kind": "secret"}], "price.paid.0: union_tag_invalid"),
    ]
    for name, value, sentence in wrong:
        with pytest.raises(Unfit) as unfit:
            called(handler, price={"cents": 5, name: value})
        assert str(unfit.value).startswith(sentence)
        assert "secret" not in str(unfit.value)
