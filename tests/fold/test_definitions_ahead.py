"""Rules of definition commands that are decided ahead of their fold. The executor works when the test tells it to."""

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from processors.codec import Codec
from processors.core.records.commands import (
    DefinitionCommand,
    DefinitionKind,
    DeleteDefinition,
    PutExternalEventDef,
    PutTaskDef,
    PutWfSpec,
    RunWf,
)
from processors.core.records.events import Definition
from processors.core.records.model import WfSpecId
from processors.core.records.spec import WfSpec
from processors.core.records.values import VariableType, to_json
from processors.core.wf_spec.definitions import Definitions, UnreadableWfSpec
from processors.fold.definitions_view import DefinitionsView
from processors.fold.inputs import InputRecord, ReadInput
from processors.fold.shard_fold import ShardFold
from processors.fold.shard_folds import ShardFolds

START_MS = 1_767_225_600_000
CODEC = Codec.load()


class ByHand(Executor):
    """An executor that does its tasks when it is told to."""

    def __init__(self) -> None:
        self._asked: list[Callable[[], None]] = []
        self.asked = 0

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        outcome: Future[Any] = Future()
        self.asked += 1

        def work() -> None:
            try:
                outcome.set_result(call(*arguments, **named))
            except Exception as error:  # noqa: BLE001  as an executor does
                outcome.set_exception(error)

        self._asked.append(work)
        return outcome

    def work(self) -> None:
        while self._asked:
            self._asked.pop(0)()


def shard_with(ahead: Executor | None) -> ShardFold:
    shard = ShardFolds(1, CODEC, DefinitionsView(CODEC), task_queues=("slow",), ahead=ahead).create(0)
    shard.begin({})
    return shard


def record(offset: int, command: DefinitionCommand | RunWf) -> InputRecord:
    topic = "wf-commands" if isinstance(command, RunWf) else "definition-commands"
    key = command.wf_run_id if isinstance(command, RunWf) else command.name
    return InputRecord(topic, 0, offset, START_MS, key.encode(), CODEC.encode(command))


def wf_spec(name: str, event: str | None = None, **variables: VariableType) -> PutWfSpec:
    """Return a WfSpec that waits for an event, if one is named."""
    nodes: dict[str, Any] = {"start": {"kind": "ENTRYPOINT", "next": "end" if event is None else "wait"}}
    if event is not None:
        nodes["wait"] = {"kind": "EXTERNAL_EVENT", "event": event, "next": "end"}
    nodes["end"] = {"kind": "EXIT"}
    declared = {variable: {"type": str(type_)} for variable, type_ in variables.items()}
    thread = {"variables": declared, "nodes": nodes}
    return PutWfSpec(name, to_json({"name": name, "entrypoint": "main", "threads": {"main": thread}}), "c")


COMMANDS: list[DefinitionCommand] = [
    PutExternalEventDef("paid", VariableType.STR, "c"),
    PutExternalEventDef("paid", VariableType.INT, "c"),
    PutTaskDef("charge", None, None, "slow", "c"),
    PutTaskDef("charge", {"cents": VariableType.INT}, None, "slow", "c"),
    PutTaskDef("charge", None, None, "unknown", "c"),
    wf_spec("order"),
    wf_spec("order", "paid"),
    wf_spec("order", total=VariableType.INT),
    wf_spec("order", "paid", total=VariableType.STR),
    wf_spec("other", "paid"),
    PutWfSpec("order", "{", "c"),
    DeleteDefinition(DefinitionKind.EXTERNAL_EVENT_DEF, "paid", command_id="c"),
    DeleteDefinition(DefinitionKind.WF_SPEC, "order", command_id="c"),
]


def folded(shard: ShardFold, reads: list[ReadInput]) -> list[tuple[str, bytes | None, bytes | None]]:
    """Fold records and return their outputs, without the fold's own position."""
    for each in reads:
        shard.fold(each)
    outputs = shard.take_outputs()
    shard.committed()
    return [(it.topic, it.key, it.value) for it in outputs if it.topic != "fold-positions"]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_decided_ahead_comes_to_the_same_however_long_it_takes(seed: int) -> None:
    draw = random.Random(seed)
    records = [record(offset, draw.choice(COMMANDS)) for offset in range(40)]
    at_once = shard_with(None)
    expected = [output for each in records for output in folded(at_once, [ReadInput(each)])]

    by_hand = ByHand()
    shard, found, at_hand, coming = shard_with(by_hand), [], list[ReadInput](), list(records)
    while coming or at_hand:
        polled = [coming.pop(0) for _ in range(min(len(coming), draw.randrange(6)))]
        at_hand += [shard.read(each) for each in polled]
        undecided = shard.decide_ahead(at_hand)
        if draw.random() < 0.3:
            by_hand.work()
        now = [each for each in at_hand if each not in undecided]
        # What there is no time for is at hand again, before what is not decided.
        folds = draw.randint(0, len(now))
        found += folded(shard, now[:folds])
        at_hand = [*now[folds:], *undecided]
        if draw.random() < 0.5:
            by_hand.work()
    assert found == expected
    assert by_hand.asked > 0


def test_a_definition_that_is_being_read_holds_up_definitions_alone() -> None:
    by_hand = ByHand()
    shard = shard_with(by_hand)
    puts = [PutExternalEventDef("e", None, "c"), wf_spec("a"), wf_spec("b"), PutExternalEventDef("x", None, "c")]
    event_def, first, second, behind = [shard.read(record(offset, it)) for offset, it in enumerate(puts)]
    runs = [shard.read(record(offset, RunWf(f"w-{offset}", "a", {}))) for offset in range(2)]
    at_hand = [runs[0], event_def, first, runs[1], second, behind]
    assert shard.decide_ahead(at_hand) == [first, second, behind]
    assert by_hand.asked == 0, "what is before it may change what it comes to"
    folded(shard, [runs[0], event_def, runs[1]])
    assert shard.decide_ahead([first, second, behind]) == [first, second, behind]
    assert by_hand.asked == 1
    by_hand.work()
    assert shard.decide_ahead([first, second, behind]) == [second, behind]
    assert [topic for topic, _, _ in folded(shard, [first])] == ["definition-events", "definitions"]


def test_a_rule_that_breaks_ahead_breaks_the_fold_of_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = ByHand()
    shard = shard_with(by_hand)
    broken = shard.read(record(0, wf_spec("a")))

    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("processors.fold.definition_commands.decide_definition", breaks)
    assert shard.decide_ahead([broken]) == [broken]
    by_hand.work()
    assert shard.decide_ahead([broken]) == []
    with pytest.raises(ZeroDivisionError):
        shard.fold(broken)


# The definitions that every worker knows.


def row(put: PutWfSpec, revision: int = 0) -> tuple[bytes, bytes]:
    definition = Definition(DefinitionKind.WF_SPEC, put.name, 0, revision, document=put.document)
    return definition.key.encode(), CODEC.encode(definition)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[WfSpecId]:
    """Return the list of documents that are read, in order."""
    read: list[WfSpecId] = []
    parsed = Definitions._parsed

    def counted(self: Definitions, wf_spec_id: WfSpecId) -> WfSpec:
        read.append(wf_spec_id)
        return parsed(self, wf_spec_id)

    monkeypatch.setattr(Definitions, "_parsed", counted)
    return read


def test_a_wf_spec_that_comes_is_read_before_a_fold_can_ask_for_it(readings: list[WfSpecId]) -> None:
    by_hand = ByHand()
    view = DefinitionsView(CODEC, by_hand)
    wf_spec_id = WfSpecId("a", 0, 0)
    key, value = row(wf_spec("a", total=VariableType.INT))
    assert not view.prepare(value)
    assert not view.prepare(value)
    assert view.latest_wf_spec("a") is None, "its position is not reached"
    by_hand.work()
    assert readings == [wf_spec_id]
    assert view.prepare(value)
    view.apply(key, value, 1)
    assert (view.position, view.latest_wf_spec("a")) == (1, wf_spec_id)
    assert "total" in view.wf_spec(wf_spec_id).threads["main"].variables
    assert readings == [wf_spec_id], "the fold reads nothing"


def test_at_the_start_the_newest_version_of_each_wf_spec_is_read_and_any_other_when_it_is_asked_for(
    readings: list[WfSpecId],
) -> None:
    by_hand = ByHand()
    view = DefinitionsView(CODEC, by_hand)
    rows = [row(wf_spec("a")), row(wf_spec("a", "paid"), 1), row(wf_spec("b"))]
    for position, (key, value) in enumerate(rows):
        view.apply(key, value, position + 1)
    assert readings == []
    view.read_newest()
    by_hand.work()
    newest = [WfSpecId("a", 0, 1), WfSpecId("b", 0, 0)]
    assert readings == newest
    for wf_spec_id in [*newest, WfSpecId("a", 0, 0)]:
        view.wf_spec(wf_spec_id)
    assert readings == [*newest, WfSpecId("a", 0, 0)]


@pytest.mark.parametrize("problem", [UnreadableWfSpec, ZeroDivisionError])
def test_a_wf_spec_that_cannot_be_read_is_the_matter_of_the_fold_that_asks_for_it(
    problem: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise problem

    monkeypatch.setattr(Definitions, "_parsed", unreadable)
    by_hand = ByHand()
    view = DefinitionsView(CODEC, by_hand)
    key, value = row(wf_spec("a"))
    assert not view.prepare(value)
    by_hand.work()
    assert view.prepare(value)
    view.apply(key, value, 1)
    view.read_newest()
    by_hand.work()
    with pytest.raises(problem):
        view.wf_spec(WfSpecId("a", 0, 0))


def test_what_is_no_wf_spec_is_applied_at_once() -> None:
    by_hand = ByHand()
    view = DefinitionsView(CODEC, by_hand)
    task_def = Definition(DefinitionKind.TASK_DEF, "charge", 0, 0)
    assert view.prepare(CODEC.encode(task_def))
    assert view.prepare(None)
    assert by_hand.asked == 0
