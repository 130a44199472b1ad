"""The traces of one shard: a span for each command that came with a context, whose context goes on with all outputs.

A command without a context of its own, such as a timer, goes on with that of the newest traced command of its WfRun. So
the retry of a task belongs to the trace of what asked for the task. The context stands in headers, those of the WfRun's
row and of its log entries, from which a load takes it. It is never in a value: rows and log are the same bytes with and
without it. A command for which there is none is not traced: traces begin at producers, which decide what is sampled.

Knows headers and spans, and no rule. There is no object of this class if tracing is off.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind

from processors.core.records.commands import Command
from processors.fold.inputs import Headers, InputRecord
from processors.kafka.trace_context import Context, context_of
from processors.kafka.tracing import DESTINATION, KEY, KIND, NAME, OFFSET, PARTITION, SYSTEM, Tracing, context_in


class ShardTraces:
    """The newest context of each WfRun of a shard, and the spans of what is folded now."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._newest: dict[str, Context] = {}
        self._folded: list[Context] = []
        """What was folded since outputs were taken."""
        self._turn: Span | None = None

    def restore(self, wf_run_id: str, headers: Headers) -> None:
        """Take the headers of a WfRun's row, or of an entry of its log."""
        context = context_of(headers)
        if context:
            self._newest[wf_run_id] = context

    def of(self, wf_run_id: str) -> Context:
        """Return the newest context of a WfRun; none if nothing traced has come for it."""
        return self._newest.get(wf_run_id, ())

    def forget(self, wf_run_id: str) -> None:
        """Forget a WfRun that is gone."""
        self._newest.pop(wf_run_id, None)

    @contextmanager
    def folding(self, record: InputRecord, command: Command) -> Iterator[Context]:
        """Span the fold of a command. Yields the context that its outputs carry, which is none if nothing is traced."""
        wf_run_id = command.wf_run_id
        parent = context_of(record.headers) or self.of(wf_run_id)
        if not parent:
            yield ()
            return
        attributes: dict[str, str | int | bool] = {
            SYSTEM: "kafka",
            KIND: "process",
            NAME: "fold",
            DESTINATION: record.topic,
            PARTITION: str(record.partition),
            OFFSET: record.offset,
            KEY: wf_run_id,
            "halter.record": type(command).__name__,
        }
        with self._tracing.active(f"fold {type(command).__name__}", SpanKind.CONSUMER, attributes, parent) as span:
            context = self._newest[wf_run_id] = context_in(span)
            self._folded.append(context)
            yield context

    def taken(self) -> None:
        """Begin the span of a transaction, which serves all that was folded: it links to each of them."""
        if self._folded and self._turn is None:
            count = {"messaging.batch.message_count": len(self._folded)}
            self._turn = self._tracing.linked("commit turn", {SYSTEM: "kafka", KIND: "settle", **count}, self._folded)
            self._folded = []

    def committed(self) -> None:
        """End that span."""
        if self._turn is not None:
            self._turn.end()
            self._turn = None
