"""The engine in memory that checks everything after each command, for scenarios and random commands."""

from halter.files.scenario import Scenario
from halter.scenarios.comparison import difference
from halter.scenarios.definitions import register
from halter.scenarios.memory import MemoryEngine
from halter.scenarios.runner import Verdict, judge_definitions, run
from halter.show.log_text import transcript
from processors.core.records.commands import Command
from processors.core.records.events import LogEntry
from processors.core.rules.context import Context
from processors.core.rules.engine import new_run
from tests.support.cancellations import CancellationOracle
from tests.support.invariants import Violated, Watch, check, check_between_commands, check_rejections_change_nothing


class CheckedEngine(MemoryEngine):
    """An engine that raises Violated as soon as an invariant does not hold."""

    def __init__(self, context: Context, start_ms: int) -> None:
        super().__init__(context, start_ms)
        self.watches: dict[str, Watch] = {}
        self.oracles: dict[str, CancellationOracle] = {}

    def fold(self, command: Command) -> list[LogEntry]:
        """Fold a command, and check everything that must hold now."""
        told = len(self.cancellations)
        entries = super().fold(command)
        wf_run = self.runs[command.wf_run_id]
        watch = self.watches.setdefault(command.wf_run_id, Watch(new_run(command.wf_run_id), self.context))
        watch.see(entries)
        watch.end_of_command()
        watch.run.changes.clear()
        check_rejections_change_nothing(entries)
        differs = difference(wf_run, watch.run)
        check(differs is None, "replaying the log gives the same state", differs)
        check_between_commands(wf_run, self.context, has_migrated=watch.has_migrated)
        oracle = self.oracles.setdefault(command.wf_run_id, CancellationOracle(command.wf_run_id))
        wanted = [it for entry in entries for it in oracle.see(entry)]
        # Of one event in whatever order.
        found = sorted(self.cancellations[told:], key=lambda it: (it.seq, it.thread))
        check(found == wanted, "task workers are told of what is of no use, and of nothing else", (found, wanted))
        return entries


def checked(scenario: Scenario) -> Verdict:
    """Return the verdict on a scenario; an invariant that does not hold is a problem, too."""
    definitions, refused = register(scenario.definitions)
    engine = CheckedEngine(Context(definitions, scenario.limits), scenario.start_ms)
    try:
        return judge_definitions(scenario, refused) or run(scenario, engine, definitions)
    except Violated as violated:
        return Verdict(0, f"an invariant does not hold: {violated}", log=transcript(engine.log))
