"""The client refuses an argument at once with a sentence, or the engine takes its bytes, whatever the argument is."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from enum import Enum
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from halter.client import (
    Client,
    ClientClosed,
    InvalidArgument,
    NewEvent,
    NoSuchPartition,
    Posted,
    RecordTooLarge,
    Sending,
)
from processors.core.records.commands import (
    Command,
    DefinitionCommand,
    DefinitionKind,
    ExternalEvent,
    OperatorCommand,
    PutExternalEventDef,
    RunWf,
)
from processors.core.records.events import Rejected, RejectionCode, TaskRequest
from processors.core.records.model import TaskStatus, WfRunSnapshot, WfSpecId
from processors.core.records.values import Timestamp, VariableType
from processors.fold.inputs import key_of, topic_of
from processors.kafka.partitioner import partition_of
from processors.kafka.settings import Settings
from tests.support.odd_values import AWARE, BAD_VALUES, GOOD_VALUES, NAIVE, Odd, circle, nested
from tests.support.records import records
from tests.support.shard_rig import ShardRig

EXAMPLES = int(os.environ.get("HALTER_EXAMPLES", "300"))
sweep = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
COMMANDS: tuple[type, ...] = get_args(Command) + get_args(DefinitionCommand) + get_args(OperatorCommand)


class Sent(NamedTuple):
    topic: str
    key: str
    value: bytes
    partition: int


class Sender(Client):
    """A client that keeps what it would hand to Kafka."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__("127.0.0.1:1", partitions=partitions)
        self.sent: list[Sent] = []
        self.reader.end = lambda *_: 0  # type: ignore[method-assign]
        self._sender.send = self._keep  # type: ignore[method-assign]

    def _keep(self, command: Any, value: bytes, partition: int = 0) -> tuple[int, int]:
        self.sent.append(Sent(topic_of(command), key_of(command), value, max(partition, 0)))
        return max(partition, 0), 0


@pytest.fixture(scope="module")
def sender() -> Iterator[Sender]:
    with Sender() as it:
        yield it


anything = st.one_of(
    st.sampled_from(range(len(BAD_VALUES))).map(BAD_VALUES.__getitem__),
    st.sampled_from(range(len(GOOD_VALUES))).map(GOOD_VALUES.__getitem__),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner) | st.sets(st.integers())
        ),
        max_leaves=8,
    ),
    st.sampled_from([TaskStatus.SUCCESS, TaskStatus.EXCEPTION, TaskStatus.TIMEOUT, *VariableType, "INT"]),
    st.sampled_from(["w", "-", "a/b", "x" * 129, "x" * 300, "x" * 1_500, "TIMEOUT", "task-reports"]),
)


def dead_letters(sent: Sent) -> list[str]:
    """The headers of the dead letters that an engine of one partition makes of a record."""
    rig = ShardRig()
    rig.awaits_definitions = False
    before = len(rig.outputs)
    rig.turn(rig.record(sent.topic, sent.key.encode(), sent.value)._replace(partition=sent.partition))
    return [str(it.headers) for it in rig.outputs[before:] if it.topic == "dead-letters"]


def made(kind: type, arguments: dict[str, Any]) -> Any:
    """A command with any arguments, made without the checks of its class."""
    command = kind.__new__(kind)
    for field in fields(kind):
        setattr(command, field.name, arguments[field.name])
    return command


@st.composite
def any_commands(draw: st.DrawFn) -> Any:
    """Commands with at most two wrong fields, so that each field is often the only wrong one."""
    kind = draw(st.sampled_from(COMMANDS))
    right = draw(records(kind.__name__))
    wrong = draw(st.sets(st.sampled_from([field.name for field in fields(kind)]), max_size=2))
    values = {field.name: getattr(right, field.name) for field in fields(kind)}
    return made(kind, {name: draw(anything) if name in wrong else value for name, value in values.items()})


@sweep
@given(command=any_commands())
def test_any_command_with_any_arguments_is_refused_at_once_or_is_no_dead_letter(sender: Sender, command: Any) -> None:
    try:
        value = sender.check(command)
    except InvalidArgument:
        return
    kind = type(command).__name__
    partition = command.partition if kind == "SkipRecord" else 0
    if partition:
        return  # `Client.skip` knows which partitions there are
    assert dead_letters(Sent(topic_of(command), key_of(command), value, partition)) == []
    read = sender.codec.decode(value)
    for field in fields(command):
        assert as_json(getattr(read, field.name)) == as_json(getattr(command, field.name))


def as_json(value: Any) -> str:
    """A text that differs for 1, 1.0 and True, and is the same for a list and a tuple."""
    return json.dumps(value, default=repr, sort_keys=True)


@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
def test_what_is_no_value_is_refused_wherever_values_go(sender: Sender, number: int) -> None:
    value = BAD_VALUES[number]
    request = TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, 1)
    for call in (
        lambda: sender.run("s", {"v": value}),
        lambda: sender.post("w", "e", value),
        lambda: sender.run_and_post("s", "w", "e", value),
        lambda: sender.run_and_post("s", "w", "e", variables={"v": value}),
        lambda: sender.report_task(request, TaskStatus.SUCCESS, value),
        lambda: sender.report_task(request, TaskStatus.EXCEPTION, failure_name="x", content=value),
    ):
        with pytest.raises(InvalidArgument):
            call()


@pytest.mark.parametrize("number", range(len(GOOD_VALUES)))
def test_what_is_a_value_is_taken_wherever_values_go(sender: Sender, number: int) -> None:
    value = GOOD_VALUES[number]
    sender.sent.clear()
    sender.run("s", {"v": value}, wf_run_id="w")
    sender.post("w", "e", value)
    sender.run_and_post("s", "w", "e", value)
    sender.run_and_post("s", "w", "e", variables={"v": value})
    sender.report_task(TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, 1), TaskStatus.SUCCESS, value)
    assert len(sender.sent) == 5
    assert [dead_letters(sent) for sent in sender.sent] == [[], [], [], [], []]


NOT_TEXT: list[Any] = [b"w", 5, True, 1.5, ["w"], {}, Odd(), "\ud800", ""]
NOT_A_NUMBER: list[Any] = ["0", True, 1.0, b"0", [], Odd(), 2**63, -(2**70)]
NOT_A_TYPE: list[Any] = ["INT", 1, TaskStatus.SUCCESS, Odd(), True]
Call = Callable[[Sender, Any], object]
ARGUMENTS: list[tuple[str, Call, list[Any]]] = [
    ("run_wf spec", lambda it, bad: it.run(bad), NOT_TEXT),
    ("run_wf id", lambda it, bad: it.run("s", wf_run_id=bad), [*NOT_TEXT, "a/b", "-a", "a" * 129]),
    ("run_wf variables", lambda it, bad: it.run("s", bad), [5, "v", [("a", 1)], Odd(), {5: 1}, {b"v": 1}]),
    ("run_wf major", lambda it, bad: it.run("s", major=bad), NOT_A_NUMBER),
    ("run_wf revision", lambda it, bad: it.run("s", revision=bad), NOT_A_NUMBER),
    ("run_and_post spec", lambda it, bad: it.run_and_post(bad, "w", "e"), NOT_TEXT),
    ("run_and_post id", lambda it, bad: it.run_and_post("s", bad, "e"), [*NOT_TEXT, "a/b", "-a", "a" * 129]),
    ("run_and_post event", lambda it, bad: it.run_and_post("s", "w", bad), NOT_TEXT),
    ("run_and_post event id", lambda it, bad: it.run_and_post("s", "w", "e", event_id=bad), [*NOT_TEXT, "x" * 257]),
    ("run_and_post variables", lambda it, bad: it.run_and_post("s", "w", "e", variables=bad), [5, "v", Odd(), {5: 1}]),
    ("run_and_post major", lambda it, bad: it.run_and_post("s", "w", "e", major=bad), NOT_A_NUMBER),
    ("event id of the WfRun", lambda it, bad: it.post(bad, "e"), [None, *NOT_TEXT, "a b"]),
    ("event name", lambda it, bad: it.post("w", bad), [None, *NOT_TEXT]),
    ("event id", lambda it, bad: it.post("w", "e", event_id=bad), [*NOT_TEXT, "x" * 257]),
    ("event thread", lambda it, bad: it.post("w", "e", thread=bad), [*NOT_A_NUMBER, -1]),
    *(
        (name, call, [None, *NOT_TEXT, "a/b"])
        for name, call in (
            ("stop", lambda it, bad: it.stop(bad)),
            ("resume", lambda it, bad: it.resume(bad)),
            ("rescue", lambda it, bad: it.rescue(bad)),
            ("migrate", lambda it, bad: it.migrate(bad, 0)),
            ("delete", lambda it, bad: it.delete(bad)),
            ("quarantine", lambda it, bad: it.quarantine(bad)),
            ("release", lambda it, bad: it.release(bad)),
        )
    ),
    ("stop thread", lambda it, bad: it.stop("w", bad), [None, *NOT_A_NUMBER, -1]),
    ("resume thread", lambda it, bad: it.resume("w", bad), [None, *NOT_A_NUMBER, -1]),
    ("migrate major", lambda it, bad: it.migrate("w", bad), [None, *NOT_A_NUMBER]),
    ("migrate revision", lambda it, bad: it.migrate("w", 0, bad), NOT_A_NUMBER),
    ("rescue thread", lambda it, bad: it.rescue("w", bad), [None, *NOT_A_NUMBER, -1]),
    ("rescue skip", lambda it, bad: it.rescue("w", skip_current_node=bad), [None, 1, 0, "yes", Odd()]),
    ("quarantine reason", lambda it, bad: it.quarantine("w", bad), [b"r", 5, "\ud800", "x" * 1_001]),
    ("quarantine operator", lambda it, bad: it.quarantine("w", operator=bad), [b"r", 5, "x" * 257]),
    ("skip topic", lambda it, bad: it.skip(bad, 0, 0), [None, b"t", 5, "\ud800"]),
    ("skip partition", lambda it, bad: it.skip("task-reports", bad, 0), [None, *NOT_A_NUMBER]),
    ("skip offset", lambda it, bad: it.skip("task-reports", 0, bad), [None, "0", True, 1.0, 2**63]),
    ("WfSpec", lambda it, bad: it.put_wf_spec(bad, "s", 0), [None, b"{}", 5, Odd(), [], {"a": {1}}, circle(), {1: 2}]),
    ("WfSpec name", lambda it, bad: it.put_wf_spec({}, bad, 0), [5, b"s", Odd(), "", "\ud800"]),
    ("TaskDef name", lambda it, bad: it.put_task_def(bad, timeout_s=0), [None, *NOT_TEXT]),
    ("TaskDef input", lambda it, bad: it.put_task_def("t", bad, timeout_s=0), [5, {"a": "INT"}, {5: VariableType.INT}]),
    ("TaskDef output", lambda it, bad: it.put_task_def("t", output=bad, timeout_s=0), NOT_A_TYPE),
    ("TaskDef queue", lambda it, bad: it.put_task_def("t", queue=bad, timeout_s=0), [b"q", 5, "\ud800"]),
    ("TaskDef optional", lambda it, bad: it.put_task_def("t", optional=bad, timeout_s=0), ["a", ("a",), [5], [None]]),
    ("definition kind", lambda it, bad: it.delete_definition(bad, "t", timeout_s=0), [None, "TASK_DEF", 5]),
    (
        "definition name",
        lambda it, bad: it.delete_definition(DefinitionKind.TASK_DEF, bad, timeout_s=0),
        [None, *NOT_TEXT],
    ),
    (
        "definition major",
        lambda it, bad: it.delete_definition(DefinitionKind.WF_SPEC, "w", major=bad, timeout_s=0),
        ["0", 1.0, True, 2**31],
    ),
    ("ExternalEventDef name", lambda it, bad: it.put_external_event_def(bad, timeout_s=0), [None, *NOT_TEXT]),
    ("ExternalEventDef", lambda it, bad: it.put_external_event_def("e", bad, timeout_s=0), NOT_A_TYPE),
    ("WorkflowEventDef", lambda it, bad: it.put_workflow_event_def("e", bad, timeout_s=0), NOT_A_TYPE),
    ("command", lambda it, bad: it.send(bad), [None, 5, "RunWf", Odd(), RunWf]),
    ("events", lambda it, bad: it.post_many(bad), [None, 5, Odd()]),
]


@pytest.mark.parametrize(("call", "bad"), [(call, bad) for _, call, values in ARGUMENTS for bad in values])
def test_an_argument_of_the_wrong_type_or_out_of_bounds_is_refused_at_once(
    sender: Sender, call: Call, bad: Any
) -> None:
    sender.sent.clear()
    with pytest.raises((InvalidArgument, NoSuchPartition)) as refused:
        call(sender, bad)
    assert "expected" in str(refused.value)
    assert sender.sent == []


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"items": [1, {"price": 2**64}]}, "content['items'][1]['price']: expected a whole number of at most 64 bits"),
        ({"k": float("nan")}, "content['k']: expected a finite number, found NaN"),
        ({"k": [{1}]}, "content['k'][0]: expected null, true or false, a number of 64 bits, text, an object or a list"),
        (nested(101), "content: expected JSON of at most 100 levels, found more"),
        (2**63, "content: expected a whole number of at most 64 bits, found one of 65"),
        (-(2**63) - 1, "content: expected a whole number of at most 64 bits, found one of 65"),
        (Timestamp(2**63), "content: expected a Timestamp of milliseconds of at most 64 bits, found one of 65"),
        (float("inf"), "content: expected a finite number, found Infinity"),
        ({1: "x"}, "content: expected keys that are text, found a key that is int"),
        ("\ud800", "found half of a surrogate pair"),
        (NAIVE, "content: expected a datetime that has a zone, as datetime.now(UTC), found one without"),
        ({"at": AWARE}, "content['at']: expected null, true or false, a number of 64 bits, text, an object or a list"),
    ],
)
def test_the_sentence_says_where_and_what(sender: Sender, value: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        sender.post("w", "e", value)
    assert sentence in str(refused.value)


def test_a_datetime_with_a_zone_is_a_timestamp_in_whole_milliseconds(sender: Sender) -> None:
    moment = Timestamp(1_767_225_600_000)
    for command in (
        sender._asking.event(NewEvent("w", "e", AWARE)),
        sender._asking.run("s", {"at": AWARE}, "w", None, None, None),
    ):
        assert moment in (getattr(command, "content", None), *getattr(command, "variables", {}).values())
    with pytest.raises(InvalidArgument, match=r"^variables\['at'\]: expected a datetime that has a zone"):
        sender.run("s", {"at": NAIVE})


def test_no_sentence_tells_a_value(sender: Sender) -> None:
    secret = 4711_4711_4711_4711_4711_4711
    for value in (secret, [secret], f"\ud800{secret}", {"k": f"{secret}\ud800"}, {float(secret): 1}):
        with pytest.raises(InvalidArgument) as refused:
            sender.post("w", "e", value)
        assert "4711" not in str(refused.value)


def test_many_variables_are_one_record(sender: Sender) -> None:
    with pytest.raises(RecordTooLarge):
        sender.run("s", {f"v{number}": "x" * 10_000 for number in range(10_000)})


@sweep
@given(name=st.sampled_from(["w", "-", "a/b", "", "x" * 129]) | st.text(max_size=5), event_id=st.text(max_size=3))
def test_an_id_that_the_client_refuses_is_one_that_the_engine_refuses(sender: Sender, name: str, event_id: str) -> None:
    sender.sent.clear()
    rig = ShardRig()
    rig.turn(*(rig.record(it.topic, it.key.encode(), it.value) for it in [defined(sender)]))
    try:
        sender.post(name, "e", event_id=event_id)
    except InvalidArgument:
        if not name or any(0xD800 <= ord(letter) < 0xE000 for letter in name + event_id):
            return  # the engine cannot be asked
        outcomes = [entry.event for entry in rig.log(ExternalEvent(name, "e", event_id))]
        assert [type(it) for it in outcomes] == [Rejected]
        assert isinstance(outcomes[0], Rejected)
        assert outcomes[0].code is RejectionCode.INVALID_ARGUMENT
        return
    (sent,) = sender.sent
    assert rig.events(rig.record(sent.topic, sent.key.encode(), sent.value)) == ["ExternalEventPosted"]


class Order(str, Enum):  # noqa: UP042  as many programs have them
    """An order: `str()` of it is the name."""

    FIRST = "A7"


@pytest.mark.parametrize(("key", "text"), [("A7", "A7"), (Order.FIRST, "A7"), (7, "7"), (-(2**63), str(-(2**63)))])
def test_a_correlation_key_is_the_text_of_its_value(sender: Sender, key: Any, text: str) -> None:
    assert sender.post_correlated(key, "e").correlation_key == text


@pytest.mark.parametrize("key", ["", "k" * 257, "\ud800", True, None, 1.5, 2**63, 10**4000])
def test_what_can_be_no_correlation_key_is_refused_whether_an_event_or_a_question_has_it(
    sender: Sender, key: Any
) -> None:
    for ask in (sender.post_correlated, sender.correlation):
        with pytest.raises(InvalidArgument, match="key"):
            ask(key, "e")


def test_operator_commands_go_to_the_partition_that_they_are_about(monkeypatch: pytest.MonkeyPatch) -> None:
    record = SimpleNamespace(offset=lambda: 7, timestamp=lambda: (1, 1_000))
    with Sender(partitions=4) as sender:
        monkeypatch.setattr(sender.reader, "bounds", lambda *_: (0, 10))
        monkeypatch.setattr(sender.reader, "read", lambda topic, *_: [] if "fold" in topic else iter([record]))
        monkeypatch.setattr("halter.client.client.folded", lambda *_: {"external-events": 7})
        skip = sender.skip("external-events", 2, 7, "it breaks", "ann")
        released, quarantined = sender.release("w"), sender.quarantine("w")
    of_w = partition_of(b"w", 4)
    assert [(it.topic, it.key, it.partition) for it in sender.sent] == [
        ("operator-commands", "partition/2", 2), ("operator-commands", "w", of_w), ("operator-commands", "w", of_w),
    ]  # fmt: skip
    assert (skip.command.timestamp_ms, skip.partition, skip.wf_run_id) == (1_000, 2, "partition/2")
    assert [it.partition for it in (released, quarantined)] == [of_w, of_w]


def defined(sender: Sender) -> Sent:
    return Sent("definition-commands", "e", sender.codec.encode(PutExternalEventDef("e")), 0)


def test_a_client_that_is_given_settings_in_place_of_an_address_says_what_takes_those() -> None:
    with pytest.raises(InvalidArgument) as refused:
        Client(Settings.load(None, {}, {}))  # type: ignore[arg-type]
    assert str(refused.value) == "bootstrap: expected host:port, found Settings: Client.of(settings) takes those"


CART = Path(__file__).parents[2] / "examples" / "cart" / "cart.yaml"
REQUEST = TaskRequest("w", 0, 0, 1, 1, "t", {}, 0, 1)
SNAPSHOT = WfRunSnapshot("w", 0, 1, 0, WfSpecId("s", 0, 0), 0)
ASKS_KAFKA: dict[str, Callable[[Client], Any]] = {
    "reach": lambda it: it.reach(0),
    "put_wf_spec": lambda it: it.put_wf_spec("{}", "s"),
    "put_task_def": lambda it: it.put_task_def("t"),
    "put_external_event_def": lambda it: it.put_external_event_def("e"),
    "put_workflow_event_def": lambda it: it.put_workflow_event_def("e"),
    "delete_definition": lambda it: it.delete_definition(DefinitionKind.TASK_DEF, "t"),
    "refusals": lambda it: it.refusals([PutExternalEventDef("e")]),
    "register": lambda it: it.register(CART),
    "put": lambda it: it.put(PutExternalEventDef("e")),
    "put_all": lambda it: list(it.put_all([PutExternalEventDef("e")])),
    "definitions": lambda it: it.definitions(),
    "external_event_def": lambda it: it.external_event_def("w", "e"),
    "run": lambda it: it.run("s"),
    "post": lambda it: it.post("w", "e"),
    "post_correlated": lambda it: it.post_correlated("k", "e"),
    "correlation": lambda it: it.correlation("k", "e"),
    "post_many": lambda it: it.post_many([NewEvent("w", "e")]),
    "run_and_post": lambda it: it.run_and_post("s", "w", "e"),
    "stop": lambda it: it.stop("w"),
    "resume": lambda it: it.resume("w"),
    "rescue": lambda it: it.rescue("w"),
    "migrate": lambda it: it.migrate("w", 0),
    "try_migration": lambda it: it.try_migration("w", 0),
    "delete": lambda it: it.delete("w"),
    "fork": lambda it: it.fork(SNAPSHOT, "v"),
    "reset": lambda it: it.reset(SNAPSHOT),
    "quarantine": lambda it: it.quarantine("w"),
    "release": lambda it: it.release("w"),
    "skip": lambda it: it.skip("wf-commands", 0, 0),
    "report_task": lambda it: it.report_task(REQUEST, TaskStatus.SUCCESS),
    "send": lambda it: it.send(RunWf("w", "s")),
    "post_all": lambda it: it.post_all([RunWf("w", "s")]),
    "prepare_to_send": lambda it: it.prepare_to_send("task-reports"),
    "send_soon": lambda it: it.send_soon(RunWf("w", "s")),
    "until_delivered": lambda it: it.until_delivered([Sending("wf-commands", "RunWf")]),
    "get": lambda it: it.get("w"),
    "row": lambda it: it.row("w"),
    "follow": lambda it: it.follow("w"),
    "ended": lambda it: it.ended("w"),
    "history": lambda it: list(it.history("w").entries),
    "outcome": lambda it: Posted(it._outcomes, "w", "wf-commands", 0, 0, 0).outcome(0),
    "until_ended": lambda it: Posted(it._outcomes, "w", "wf-commands", 0, 0, 0).until_ended(0),
}


def closed_client() -> Client:
    client = Client("127.0.0.1:1", partitions=1)
    client.close()
    return client


@pytest.mark.parametrize("asks", ASKS_KAFKA)
def test_a_closed_client_says_so_whatever_it_is_asked(asks: str) -> None:
    with pytest.raises(ClientClosed, match="this Client is closed"):
        ASKS_KAFKA[asks](closed_client())


def test_all_that_a_client_does_is_asked_of_a_closed_one() -> None:
    does = {name for name, it in vars(Client).items() if callable(it) and not name.startswith("_")}
    assert does - {"check", "close", "poll_sent", "warn_with"} == set(ASKS_KAFKA) - {"outcome", "until_ended"}


def test_a_client_that_was_never_answered_closes_without_waiting_for_kafka() -> None:
    """A consumer that still looks up the name of a broker would wait for the answer of a name server."""
    client, begun, let_go = Client("127.0.0.1:1", partitions=1), time.monotonic(), threading.Event()
    client.reader._idle[1, "read_committed"].append(SimpleNamespace(close=lambda: let_go.wait(20)))  # type: ignore[arg-type]
    client.close()
    assert time.monotonic() - begun < 5
    let_go.set()


def test_a_client_may_be_closed_twice() -> None:
    closed_client().close()


@pytest.mark.parametrize(
    ("source", "found"),
    [(5, "int"), (None, "NoneType"), (b"cart.yaml", "bytes"), (Client, "the class Client"), (StringIO(), "StringIO")],
)
def test_register_says_what_it_takes(source: Any, found: str) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidArgument) as refused:
        client.register(source)
    assert str(refused.value) == f"expected the path of a file, or a Workflow, found {found}"
