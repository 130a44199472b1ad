"""Runs the scenarios of one call of `halter scenario run --bootstrap`, each with topics and a worker of its own.

Two scenarios may use the same names for different definitions, WfRuns and limits, and one would see what the other left
behind. So they share only the time that processes need to start (see `workers`).
"""

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Self

from halter.files.scenario import Crash, Scenario
from halter.scenarios.kafka.engine import Buried, NoOutcome
from halter.scenarios.kafka.sandbox import Sandbox
from halter.scenarios.kafka.workers import WorkerEnded, Workers
from halter.scenarios.runner import Verdict, judge_definitions, run
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings


class NotRemoved(HalterError):
    """Topics or groups of scenarios could not be removed. The message names them. Whoever runs Kafka removes them."""


def workers_needed(scenario: Scenario) -> int:
    """Return the number of worker processes that a scenario uses if all of its steps are run."""
    return 1 + sum(isinstance(step.does, Crash) for step in scenario.steps)


class KafkaJudge:
    """Runs scenarios on a Kafka: call it with a scenario to get the verdict. A context manager."""

    def __init__(self, settings: Settings, workers_expected: int) -> None:
        self._settings, self._expected = settings, workers_expected
        self._prefix = f"{settings.prefix}scenario-{secrets.token_hex(4)}-"
        self._codec = Codec.load()
        self._count = 0
        self._left: list[str] = []
        self._folder: Path | None = None
        self._workers: Workers | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="halter-scenario-"))
        self._workers = Workers(self._settings, self._folder, self._expected)
        return self

    def __call__(self, scenario: Scenario) -> Verdict:
        """Run a scenario. Raises HalterError if the cause is not the scenario: no Kafka, or no topics can be made."""
        assert self._workers is not None
        self._count += 1
        sandbox = Sandbox(self._settings, f"{self._prefix}{self._count}-", scenario, self._workers, self._codec)
        try:
            with sandbox:
                engine = sandbox.engine()
                try:
                    refused = engine.register(scenario.definitions)
                except (WorkerEnded, NoOutcome, Buried) as problem:
                    return Verdict(0, f"the definitions could not be registered: {problem}")
                return judge_definitions(scenario, refused) or run(scenario, engine, engine.definitions)
        finally:
            self._left += sandbox.left

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """End the worker processes and remove their logs. Raises NotRemoved."""
        assert self._workers is not None
        assert self._folder is not None
        self._workers.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._left:
            before = f" (before that: {error})" if isinstance(error, HalterError) else ""
            raise NotRemoved(f"could not remove from {self._settings.bootstrap}: {', '.join(self._left)}{before}")
