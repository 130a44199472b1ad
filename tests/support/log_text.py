"""A golden log: the commands, the events, and the WfRun at the end, one line each.

    C  ExternalEvent         order-1  kill k1 "out of stock"
    E  Halt                  #0  PENDING_INTERRUPT(k1)
    …
    S  WfRun                 order-1  COMPLETED
    S  ThreadRun             #0  COMPLETED, main at done, address = "12 Harbour Street"

`halter.show.log_text` writes the lines of commands and events. Those of the state show what `evolve` made of them.
"""

from collections.abc import Iterator

from halter.scenarios.memory import MemoryEngine
from halter.show.log_text import NAME_WIDTH, failure_text, shown, transcript
from halter.show.times import iso
from processors.core.records.model import ThreadRun


def golden_log(engine: MemoryEngine) -> str:
    """Yield the golden log of all WfRuns of an engine."""
    return "\n".join([*transcript(engine.log), "", *_state(engine)]) + "\n"


def _state(engine: MemoryEngine) -> Iterator[str]:
    for wf_run_id, run in engine.runs.items():
        yield _line("WfRun", f"{wf_run_id}  {run.status}, {run.seq} events, {iso(run.time_ms)}")
        threads = {**engine.rows[wf_run_id].finished, **run.threads}
        for number in sorted(threads):
            yield _line("ThreadRun", f"#{number}  {_thread(threads[number])}")
        for event in run.external_events.values():
            yield _line("ExternalEvent", f"{event.external_event_def} {event.external_event_id}  {event.status}")


def _thread(thread: ThreadRun) -> str:
    reasons = f" [{', '.join(map(str, thread.halt_reasons))}]" if thread.halt_reasons else ""
    variables = "".join(f", {name} = {shown(value)}" for name, value in thread.variables.items())
    failure = "" if thread.failure is None else f", {failure_text(thread.failure)}"
    return f"{thread.status}{reasons}, {thread.thread_spec} at {thread.node.node}{variables}{failure}"


def _line(name: str, details: str) -> str:
    return f"S  {name:<{NAME_WIDTH}}{details}"
