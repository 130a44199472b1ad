"""Traces in the fold: contexts go on in headers, and change no byte of what is written."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from halter.task_worker.attempts import report_of
from processors.core.records.commands import ExternalEvent, RunWf, StopWfRun
from processors.core.records.events import TaskRequest
from processors.core.records.model import TaskStatus
from processors.core.records.topic_names import TASK_REQUESTS, WF_EVENTS, WF_RUNS
from processors.fold.outputs import OutputRecord
from processors.fold.tracing import ShardTraces
from processors.kafka.trace_context import TRACESTATE_BYTES_MAX, context_of, without_context
from processors.kafka.tracing import Tracing
from tests.fold.test_shard_fold import add, with_cart
from tests.support.shard_rig import ShardRig

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode()),)
NOT_SAMPLED = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-00".encode()),)


@dataclass
class Traced:
    """A shard that is traced, and the spans that it made."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)
        self.rig = with_cart(ShardRig(tracing=self.tracing))

    def turn(self, *commands: object, headers: tuple[tuple[str, bytes], ...] = ()) -> list[OutputRecord]:
        """Fold commands that came with these headers, and return what was written."""
        before = len(self.rig.outputs)
        self.rig.turn(*(self.rig.command(it)._replace(headers=headers) for it in commands))
        return self.rig.outputs[before:]


def trace_of(record: OutputRecord) -> str | None:
    """Return the id of the trace whose context a record carries."""
    context = dict(context_of(record.headers))
    return context["traceparent"].decode().split("-")[1] if context else None


COMMANDS = st.lists(
    st.one_of(
        st.sampled_from(["c1", "c2"]).map(lambda it: RunWf(it, "cart")),
        st.tuples(st.integers(1, 5), st.sampled_from(["c1", "c2"])).map(lambda it: add(*it)),
        st.just(StopWfRun("c1", 0, None)),
    ),
    max_size=12,
)
HEADERS = st.sampled_from(
    [(), SAMPLED, NOT_SAMPLED, (("traceparent", b"nonsense"),), (*SAMPLED, ("tracestate", b"a=1"))]
)


@given(COMMANDS, st.lists(HEADERS, min_size=12, max_size=12))
@settings(max_examples=40)
def test_the_same_inputs_give_the_same_bytes_with_and_without_traces(
    commands: list[object], headers: list[tuple[tuple[str, bytes], ...]]
) -> None:
    plain, traced = with_cart(ShardRig()), Traced()
    for command, context in zip(commands, headers, strict=False):
        plain.turn(command)
        traced.turn(command, headers=context)
    assert [it._replace(headers=()) for it in plain.outputs] == [it._replace(headers=()) for it in traced.rig.outputs]
    assert [it.headers for it in plain.outputs] == [without_context(it.headers) for it in traced.rig.outputs]


def test_without_tracing_headers_of_a_trace_are_left_where_they_are() -> None:
    rig = with_cart(ShardRig())
    rig.turn(rig.command(RunWf("c1", "cart"))._replace(headers=SAMPLED))
    assert not any(trace_of(it) for it in rig.outputs)


def test_what_a_command_brings_about_carries_its_trace_on() -> None:
    traced = Traced()
    outputs = traced.turn(RunWf("c1", "cart"), headers=SAMPLED)
    assert {trace_of(it) for it in outputs if it.topic in (WF_EVENTS, WF_RUNS)} == {TRACE}
    fold, commit = traced.exporter.get_finished_spans()
    assert fold.name == "fold RunWf"
    assert fold.kind is SpanKind.CONSUMER
    assert fold.parent is not None
    assert f"{fold.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert commit.name == "commit turn"
    assert [it.context.span_id for it in commit.links] == [fold.context.span_id], "one span serves many: it links"


def test_a_command_without_a_context_goes_on_with_that_of_its_wf_run() -> None:
    """A time-out, for instance: the task that it brings about belongs to the trace of what started the WfRun."""
    traced = Traced()
    traced.turn(RunWf("c1", "cart"), headers=SAMPLED)
    assert {trace_of(it) for it in traced.turn(add(1)) if it.topic == WF_EVENTS} == {TRACE}
    assert {trace_of(it) for it in traced.turn(RunWf("c2", "cart")) if it.topic == WF_EVENTS} == {None}


def test_after_a_restart_a_wf_run_has_the_context_of_its_row() -> None:
    traced = Traced()
    (row,) = (it for it in traced.turn(RunWf("c1", "cart"), headers=SAMPLED) if it.topic == WF_RUNS)
    traces = ShardTraces(traced.tracing)
    assert traces.of("c1") == ()
    traces.restore("c1", row.headers)
    assert traces.of("c1") == context_of(row.headers) != ()


def test_what_is_not_sampled_stays_so_and_makes_no_span() -> None:
    traced = Traced()
    outputs = traced.turn(RunWf("c1", "cart"), headers=NOT_SAMPLED)
    assert traced.exporter.get_finished_spans() == () or all(
        it.name == "commit turn" for it in traced.exporter.get_finished_spans()
    )
    contexts = {dict(context_of(it.headers))["traceparent"] for it in outputs if it.topic == WF_EVENTS}
    assert all(it.startswith(f"00-{TRACE}-".encode()) and it.endswith(b"-00") for it in contexts)


def test_a_task_request_carries_the_trace_to_its_task_worker_and_a_report_brings_it_back() -> None:
    traced = Traced()
    traced.turn(RunWf("c1", "cart"), headers=SAMPLED)
    (record,) = (it for it in traced.turn(ExternalEvent("c1", "checkout", "e1", None)) if it.topic == TASK_REQUESTS)
    assert trace_of(record) == TRACE
    request = traced.rig.codec.decode(record.value or b"")
    assert isinstance(request, TaskRequest)
    traced.turn(report_of(request, status=TaskStatus.SUCCESS), headers=context_of(record.headers))
    fold = traced.exporter.get_finished_spans()[-2]
    assert (fold.name, f"{fold.context.trace_id:032x}") == ("fold ReportTaskRun", TRACE)


@pytest.mark.parametrize(
    "headers",
    [
        (("traceparent", b""),),
        (("traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01"),),
        (("traceparent", f"00-{TRACE}-{'0' * 16}-01".encode()),),
        (("traceparent", f"ff-{TRACE}-00f067aa0ba902b7-01".encode()),),
        (("traceparent", SAMPLED[0][1] + b"x" * 1_000_000),),
        (("tracestate", b"a=1"),),
        (("baggage", b"user=ann"),),
    ],
)
def test_what_is_no_context_is_taken_for_none(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert context_of(headers) == ()


def test_a_context_is_bounded_and_baggage_is_not_stored() -> None:
    many = b"a=" + b"x" * TRACESTATE_BYTES_MAX
    assert context_of((*SAMPLED, ("tracestate", many), ("baggage", b"user=ann"))) == SAMPLED
    assert context_of((*SAMPLED, ("tracestate", b"a=1"))) == (*SAMPLED, ("tracestate", b"a=1"))
