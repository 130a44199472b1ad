"""Draws the pictures of README.md and docs/concepts.md: docs/{interrupt,halting}-{wide,narrow}-{light,dark}.svg.

    python -m docs.pictures.scenes            writes them
    python -m docs.pictures.scenes --check    are they what would be written? Exit code 1 if not

Each is the history of a WfRun that the rules decided, in memory. That of README.md runs the WfSpec that README.md has.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from docs.pictures.lanes import DARK, LIGHT, Scene, narrow, scene, wide
from halter import Workflow
from halter.files.definition_files import read_definition_file
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.workflow import ExternalEventDef, TaskDef, Thread
from processors.core.records.commands import (
    DefinitionCommand,
    ExternalEvent,
    PutExternalEventDef,
    PutTaskDef,
    ReportTaskRun,
    RunWf,
)
from processors.core.records.model import TaskRunStatus, TaskStatus
from processors.core.records.values import Value, VariableType
from processors.core.rules.context import Context, Limits

ROOT = Path(__file__).parents[2]
START_MS = 1_796_040_183_000
STEP_MS = 2_000
WF_RUN = "order-41"


class Stage:
    """A WfRun in memory, and what was sent to it: one record every two seconds."""

    def __init__(self, title: str, commands: Sequence[DefinitionCommand]) -> None:
        self._title = title
        definitions, refused = register(commands)
        assert not refused, refused
        self._engine = MemoryEngine(Context(definitions, Limits()), START_MS)
        self._labels: list[tuple[str, str]] = []

    def run(self, wf_spec: str, variables: dict[str, Value], detail: str) -> None:
        """Start the WfRun."""
        self._engine.put(RunWf(WF_RUN, wf_spec, variables))
        self._labels.append(("RunWf", detail))

    def event(self, name: str, content: Value, detail: str) -> None:
        """Post an ExternalEvent."""
        self._engine.pass_time(STEP_MS)
        self._engine.put(ExternalEvent(WF_RUN, name, "a1", content))
        self._labels.append((name, detail))

    def report(self, task: str) -> None:
        """Let the task worker be done with a task."""
        self._engine.pass_time(STEP_MS)
        run = self._engine.runs[WF_RUN]
        for thread in run.threads.values():
            out = thread.node.task
            if out is not None and out.status is TaskRunStatus.OUT and out.task_def == task:
                at = thread.number, thread.node.position, out.attempt
                self._engine.put(ReportTaskRun(WF_RUN, run.incarnation, *at, TaskStatus.SUCCESS, output="done"))
                break
        self._labels.append(("ReportTaskRun", task))

    def seen(self) -> Scene:
        """Return what is to be seen."""
        engine = self._engine
        return scene(self._title, WF_RUN, engine.log_of(WF_RUN), engine.context.definitions, self._labels)


def workflow() -> str:
    """Return the WfSpec document that README.md shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (document,) = re.findall(r"^```yaml\n(name: order\n.*?)^```", readme, re.DOTALL | re.MULTILINE)
    return str(document)


def interrupt() -> Scene:
    """Change the address of an order while its parcel is packed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "order.yaml")
        file.write_text(workflow(), encoding="utf-8")
        wf_spec = read_definition_file(file).commands
    tasks = [PutTaskDef(name) for name in ("pack", "print-label", "ship")]
    event = PutExternalEventDef("address-changed", VariableType.STR)
    stage = Stage("An ExternalEvent interrupts a WfRun", [event, *tasks, *wf_spec])
    stage.run("order", {"address": "3 Mill Lane"}, "address: 3 Mill Lane")
    stage.event("address-changed", "12 Harbour Street", "12 Harbour Street")
    for task in ("pack", "print-label", "ship"):
        stage.report(task)
    return stage.seen()


def halting() -> Scene:
    """Interrupt an order whose child has a task out."""
    changed = ExternalEventDef("gift-changed", str)
    wrap_it, tie_it, choose_it = (TaskDef(name, {}, str) for name in ("wrap", "tie-ribbon", "choose-paper"))

    def main(thread: Thread) -> None:
        thread.interrupt(changed, change_gift)
        thread.wait_for_threads([thread.start_thread(wrapping)], name="wait")

    def wrapping(thread: Thread) -> None:
        thread.task(wrap_it, name="wrap")
        thread.task(tie_it, name="ribbon")

    def change_gift(thread: Thread) -> None:
        thread.task(choose_it, name="paper")

    stage = Stage("A child halts before its parent", list(Workflow("gift", main).commands()))
    stage.run("gift", {}, "")
    stage.event("gift-changed", "red paper", "red paper")
    for task in ("wrap", "choose-paper", "tie-ribbon"):
        stage.report(task)
    return stage.seen()


def pictures() -> dict[str, str]:
    """Return the pictures by the names of their files."""
    drawn = {}
    for name, shown in (("interrupt", interrupt()), ("halting", halting())):
        for theme, colours in (("light", LIGHT), ("dark", DARK)):
            drawn[f"{name}-wide-{theme}.svg"] = wide(shown, colours)
            drawn[f"{name}-narrow-{theme}.svg"] = narrow(shown, colours)
    return drawn


def main() -> int:
    """Write them, or compare them."""
    differing = 0
    for name, svg in pictures().items():
        file = ROOT / "docs" / name
        if "--check" not in sys.argv[1:]:
            file.write_text(svg, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != svg:
            print(f"docs/{name} is not what `python -m docs.pictures.scenes` writes")
            differing = 1
    return differing


if __name__ == "__main__":
    sys.exit(main())
