"""One call of `halter scenario run --bootstrap`: scenario after scenario, each with topics and a worker of its own.

Of its own, because definitions, WfRun ids and limits of two scenarios may be named alike and differ, and what one left
behind would be the other's state. What is shared is the time that processes need to start (see `workers`).
"""

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Self

from halter.files.scenario_document import Crash, Scenario
from halter.scenarios.kafka.engine import Buried, NoOutcome
from halter.scenarios.kafka.place import Place
from halter.scenarios.kafka.workers import WorkerEnded, Workers
from halter.scenarios.runner import Verdict, judge_definitions, run
from processors.codec import Codec
from processors.core.records.errors import HalterError
from processors.kafka.settings import Settings


class NotRemoved(HalterError):
    """Topics or groups of scenarios are still there; the message names them. Whoever runs Kafka removes them."""


def workers_needed(scenario: Scenario) -> int:
    """How many worker processes a scenario uses, if it comes to its end."""
    return 1 + sum(isinstance(step.does, Crash) for step in scenario.steps)


class KafkaJudge:
    """Runs scenarios on a Kafka. A context manager; called with a scenario it gives the verdict."""

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
        """Run one. Raises HalterError for what is not the scenario's: Kafka is away, topics cannot be made."""
        assert self._workers is not None
        self._count += 1
        place = Place(self._settings, f"{self._prefix}{self._count}-", scenario, self._workers, self._codec)
        try:
            with place:
                engine = place.engine()
                try:
                    refused = engine.register(scenario.definitions)
                except (WorkerEnded, NoOutcome, Buried) as problem:
                    return Verdict(0, f"the definitions could not be registered: {problem}")
                return judge_definitions(scenario, refused) or run(scenario, engine, engine.definitions)
        finally:
            self._left += place.left

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """End the processes. Raises NotRemoved."""
        assert self._workers is not None
        assert self._folder is not None
        self._workers.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._left:
            before = f" (before that: {error})" if isinstance(error, HalterError) else ""
            raise NotRemoved(f"at {self._settings.bootstrap} are still there: {', '.join(self._left)}{before}")
