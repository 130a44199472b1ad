"""Commands for a WfRun, chosen by numbers: what its state allows, and everything that a producer can get wrong.

A number picks one of what could come now, so a list of numbers is a history, whatever the WfSpec; Hypothesis makes the
list shorter and its numbers smaller until a failure is plain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from halter.scenarios.memory import timers_of
from processors.core.commands import (
    Command,
    DeleteWfRun,
    ExternalEvent,
    ReportTaskRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    StopWfRun,
    TaskStatus,
    TimerFired,
)
from processors.core.model import WfRun

RUN_ID = "w1"


@dataclass(slots=True)
class Producers:
    """All who write to one WfRun, the forgetful ones too: they remember what was sent, to send it again."""

    external_event_defs: list[str]
    sent: list[Command] = field(default_factory=list)
    timers: list[TimerFired] = field(default_factory=list)
    """Every timer that was ever armed, so that stale ones can fire."""

    def choose(self, run: WfRun, number: int) -> Command:
        """The command that a number stands for, in this state."""
        self.timers.extend(timer for timer in timers_of(run) if timer not in self.timers)
        likely = list(self._likely(run))
        # Mostly what makes sense, now and then what does not.
        kind, number = number % 5, number // 5
        choices = list(self._unlikely(run)) if kind == 0 or not likely else likely
        command = choices[number % len(choices)]
        self.sent.append(command)
        return command

    def _likely(self, run: WfRun) -> Iterator[Command]:
        if not run.exists:
            yield RunWf(RUN_ID, "small")
        fresh = f"e{len(self.sent)}"
        for name in self.external_event_defs:
            yield ExternalEvent(RUN_ID, name, fresh)
        for report in self._reports(run):
            yield report
            yield report
            yield replace(report, status=TaskStatus.FAILED, message="broken")
            yield replace(report, status=TaskStatus.EXCEPTION, failure_name="oops", content="why")
        yield from timers_of(run)
        for number in sorted(run.threads):
            yield StopWfRun(RUN_ID, number)
            yield ResumeWfRun(RUN_ID, number)

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
        yield ExternalEvent(RUN_ID, "unknown", fresh)
        yield RunWf(RUN_ID, "small", command_id="again")
        yield RunWf(RUN_ID, "unknown")
        yield RunWf(RUN_ID, "small", {"n": "text"})
        for number in range(-1, beyond + 1):
            yield RescueThreadRun(RUN_ID, number)
            yield RescueThreadRun(RUN_ID, number, skip_current_node=True)
            yield ResumeWfRun(RUN_ID, number, command_id="again")
        for report in self._reports(run):
            yield replace(report, attempt=report.attempt + 1)
            yield replace(report, position=report.position + 1)
            yield replace(report, incarnation=report.incarnation + 1)
            yield replace(report, status=TaskStatus.TIMEOUT)
            yield replace(report, status=TaskStatus.EXCEPTION, failure_name="TIMEOUT")
        yield from self.timers
        yield DeleteWfRun(RUN_ID)
