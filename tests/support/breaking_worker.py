"""`halter worker` with a bug in it, for tests: python -m tests.support.breaking_worker [options]

HALTER_TEST_BREAKS says what breaks, for WfRuns whose id begins with `bad`. `rule` breaks the rules half-way, for each
command (task reports too) and for definitions whose name begins so. `rows` breaks writing the rows, which follow the
log, `timers` firing them. Without the variable nothing breaks. HALTER_TEST_PORT is the port of the probes.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halter.cli.running_options import Running
from halter.cli.worker import run_here
from processors.core.records.commands import DefinitionCommand
from processors.core.records.errors import HalterError
from processors.core.records.events import Cause, Definition
from processors.core.records.model import WfRun
from processors.core.rules import engine
from processors.core.wf_spec.registration import Outcome
from processors.fold.definition_commands import DefinitionFold
from processors.fold.outputs import OutputRecord
from processors.fold.shard_fold import ShardFold
from processors.kafka.settings import Settings
from processors.worker.logs import configure_logging
from tests.support.broken_rule import RuleBroke, breaking

BAD = "bad"


def break_something(what: str) -> None:
    """Put the bug in."""
    take_rows_of, due_timers, decide_definition = ShardFold._take_rows_of, ShardFold.due_timers, DefinitionFold._decide

    def broken_definitions(
        fold: DefinitionFold, command: DefinitionCommand, cause: Cause
    ) -> tuple[Outcome, list[Definition]]:
        decided = decide_definition(fold, command, cause)
        if command.name.startswith(BAD):
            raise RuleBroke(f"told to, by {type(command).__name__}")
        return decided

    def broken_rows(shard: ShardFold, run: WfRun, outputs: list[OutputRecord]) -> None:
        if run.wf_run_id.startswith(BAD) and run.quarantined_ms is None:
            raise RuleBroke(f"cannot write the rows of {run.wf_run_id}")
        take_rows_of(shard, run, outputs)

    def broken_timers(shard: ShardFold, now_ms: int, limit: int) -> Sequence[OutputRecord]:
        fired = due_timers(shard, now_ms, limit)
        if any((output.key or b"").startswith(BAD.encode()) for output in fired):
            raise RuleBroke("cannot fire")
        return fired

    match what:
        case "rule":
            engine.decide = breaking(lambda command: command.wf_run_id.startswith(BAD))
            DefinitionFold._decide = broken_definitions  # type: ignore[method-assign]  # a bug that this test makes
        case "rows":
            ShardFold._take_rows_of = broken_rows  # type: ignore[method-assign]  # as above
        case "timers":
            ShardFold.due_timers = broken_timers  # type: ignore[method-assign]  # as above


def main() -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slot", default=None)
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--ready-file", type=Path, default=None)
    options: Any = parser.parse_args()
    configure_logging()
    port = os.environ.get("HALTER_TEST_PORT")
    break_something(os.environ.get("HALTER_TEST_BREAKS", ""))
    try:
        settings = Settings.load(None, os.environ, {})
        run_here(settings, options.slot, options.ready_file, Running(int(port) if port else None))
    except HalterError as error:
        sys.exit(f"halter: {error}")


if __name__ == "__main__":
    main()
