"""Commands for a WfRun, chosen by numbers: what its state allows, and everything that a producer can get wrong.

A number picks one of the commands that could come now, so a list of numbers is a history for any WfSpec. Hypothesis
makes the list shorter and its numbers smaller until a failure is plain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from halter.scenarios.memory import timers_of
from processors.core.records.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    ReportTaskProgress,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StartTaskRun,
    StopWfRun,
    TimerFired,
)
from processors.core.records.model import TERMINAL, ManualHalt, Status, TaskStatus, ThreadRun, WfRun, WfRunSnapshot
from processors.core.records.spec import ExternalEventNode
from processors.core.records.values import PROGRESS_BYTES_MAX
from processors.core.rules.snapshots import snapshot_of

RUN_ID = "w1"


@dataclass(slots=True)
class Producers:
    """All who write to one WfRun, forgetful ones too: they remember what was sent, to send it again."""

    external_event_defs: list[str]
    sent: list[Command] = field(default_factory=list)
    timers: list[TimerFired] = field(default_factory=list)
    """Every timer that was ever armed, so that stale ones can fire."""
    snapshots: list[WfRunSnapshot] = field(default_factory=list)
    """Some states of WfRuns of the id: once it is deleted, it may go on from one of them."""
    versions: tuple[tuple[int, int], ...] = ()
    """The versions to which it may migrate."""

    def choose(self, run: WfRun, number: int) -> Command:
        """Return the command that a number stands for, in this state."""
        self.timers.extend(timer for timer in timers_of(run) if timer not in self.timers)
        if run.exists and len(self.sent) % 5 == 0:
            self.snapshots.append(snapshot_of(run))
        likely = list(self._likely(run))
        # Mostly a command that makes sense, now and then one that does not.
        kind, number = number % 6, number // 6
        choices = list(self._unlikely(run)) if kind == 5 else likely
        command = choices[number % len(choices)]
        self.sent.append(command)
        return command

    def _likely(self, run: WfRun) -> Iterator[Command]:
        """Return the commands that move a WfRun, more often those that take it further."""
        fresh = f"e{len(self.sent)}"
        events = [
            ExternalEvent(RUN_ID, name, fresh, content) for name in self.external_event_defs for content in (1, None)
        ]
        if not run.exists:
            yield from [RunWf(RUN_ID, "small")] * 2 * len(events)
            yield from map(_starting, events)
            yield from [ForkWfRun(RUN_ID, snapshot) for snapshot in self.snapshots[-2:]]
            yield from events
            return
        if run.final_status is not None:
            yield from [DeleteWfRun(RUN_ID)] * 3
            yield from events[:1]
            yield from map(_starting, events[:1])
            return
        yield from [event for event in events if _is_asked_for(run, event.external_event_def)] * 3
        yield from events[::2]
        yield from map(_starting, events[1::4])
        for report in self._reports(run):
            attempt = (run.incarnation, report.thread, report.position, report.attempt)
            yield from [StartTaskRun(RUN_ID, *attempt)] * 3
            yield ReportTaskProgress(RUN_ID, *attempt, len(self.sent))
            yield from [report] * 5
            yield replace(report, status=TaskStatus.FAILED, message="broken")
            yield replace(report, status=TaskStatus.EXCEPTION, failure_name="oops", content="why")
        for timer in timers_of(run):
            yield from [timer] * 2
        for thread in run.threads.values():
            yield from self._orders(thread)
        yield from [MigrateWfRun(RUN_ID, *version) for version in self.versions] * 2

    def _orders(self, thread: ThreadRun) -> Iterator[Command]:
        """Return what an operator may do with a thread."""
        if ManualHalt() in thread.halt_reasons:
            yield from [ResumeWfRun(RUN_ID, thread.number)] * 3
        elif thread.status is Status.ERROR:
            yield from [RescueThreadRun(RUN_ID, thread.number, skip_current_node=skip) for skip in (False, True)] * 2
        elif thread.status not in TERMINAL:
            yield StopWfRun(RUN_ID, thread.number)

    def _reports(self, run: WfRun) -> Iterator[ReportTaskRun]:
        for thread in run.threads.values():
            task = thread.node.task
            if task is not None and thread.task_out:
                position = thread.node.position
                yield ReportTaskRun(
                    RUN_ID, run.incarnation, thread.number, position, task.attempt, TaskStatus.SUCCESS, output=1
                )

    def _unlikely(self, run: WfRun) -> Iterator[Command]:
        yield from self.sent[-3:]
        fresh = f"e{len(self.sent)}"
        beyond = run.greatest_thread_number + 1
        for name in self.external_event_defs:
            yield from (ExternalEvent(RUN_ID, name, fresh, 1, thread) for thread in range(beyond + 1))
            yield ExternalEvent(RUN_ID, name, fresh, "text")
            yield RunWfAndPost(RUN_ID, "small", name, fresh, content="text")
            yield RunWfAndPost(RUN_ID, "small", name, fresh, {"n": "text"})
            yield RunWfAndPost(RUN_ID, "unknown", name, fresh)
        yield ExternalEvent(RUN_ID, "unknown", fresh)
        yield RunWfAndPost(RUN_ID, "small", "unknown", fresh)
        yield RunWf(RUN_ID, "small", command_id="again")
        yield RunWf(RUN_ID, "unknown")
        for snapshot in self.snapshots[-2:]:
            yield ForkWfRun(RUN_ID, snapshot)
            yield ForkWfRun(RUN_ID, replace(snapshot, greatest_thread_number=-1))
        yield RunWf(RUN_ID, "small", {"n": "text"})
        yield from [MigrateWfRun(RUN_ID, 0, 0), MigrateWfRun(RUN_ID, 9)]
        for number in range(-1, beyond + 1):
            yield RescueThreadRun(RUN_ID, number)
            yield RescueThreadRun(RUN_ID, number, skip_current_node=True)
            yield ResumeWfRun(RUN_ID, number, command_id="again")
            yield StopWfRun(RUN_ID, number)
        for report in self._reports(run):
            yield replace(report, attempt=report.attempt + 1)
            yield replace(report, position=report.position + 1)
            yield replace(report, incarnation=report.incarnation + 1)
            yield StartTaskRun(RUN_ID, run.incarnation, report.thread, report.position, report.attempt + 1)
            attempt = (run.incarnation, report.thread, report.position, report.attempt)
            yield ReportTaskProgress(RUN_ID, *attempt, "x" * (PROGRESS_BYTES_MAX + 1))
            yield replace(report, status=TaskStatus.TIMEOUT)
            yield replace(report, status=TaskStatus.EXCEPTION, failure_name="TIMEOUT")
        yield from self.timers
        yield DeleteWfRun(RUN_ID)


def _starting(event: ExternalEvent) -> RunWfAndPost:
    """Return what starts the WfRun for an event, if there is none."""
    return RunWfAndPost(RUN_ID, "small", event.external_event_def, event.external_event_id, content=event.content)


def _is_asked_for(run: WfRun, event_def: str) -> bool:
    """Return True if a live thread has an interrupt for an ExternalEvent, or waits for one."""
    for thread in run.threads.values():
        if thread.status in TERMINAL:
            continue
        spec = run.spec_of(thread)
        node = spec.nodes[thread.node.node]
        awaited = isinstance(node, ExternalEventNode) and node.external_event_def == event_def
        if awaited or event_def in spec.interrupt_of:
            return True
    return False
