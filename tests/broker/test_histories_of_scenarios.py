"""The history of a scenario on a real Kafka with a real worker gives a scenario with the same verdict, event by event.

CI takes a few documents, in which every kind of event occurs that a scenario can have. `make histories` takes all
documents of tests/scenarios. A fork begins with a state that no document can say, so its history is refused.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from halter.client import Client
from halter.history.export import export
from halter.history.export_file import ExportFile
from halter.history.live import Live
from halter.history.scenario_check import made
from halter.history.scenario_of import Wanted
from halter.history.turns import NoScenario
from halter.scenarios.files import read_file
from halter.scenarios.kafka.judge import workers_needed
from halter.scenarios.kafka.sandbox import Sandbox
from halter.scenarios.kafka.workers import Workers
from halter.scenarios.runner import run
from processors.codec import Codec
from processors.core.records.events import WfRunForked
from processors.kafka.settings import Settings
from processors.worker.scenario_worker import PARTITIONS
from tests.support import recorded

CODEC = Codec.load()


def documents() -> list[str]:
    """Return the documents that leave a history: those that expect no refusal of their definitions."""
    scenarios = {name: read_file(recorded.SCENARIOS / f"{name}.yaml").scenario for name in recorded.documents()}
    return [name for name, scenario in scenarios.items() if scenario and scenario.definitions_rejected is None]


NAMES = documents() if os.environ.get("HALTER_ALL_HISTORIES") else recorded.EVERY_KIND


@pytest.fixture(scope="module")
def settings(bootstrap: str) -> Settings:
    return Settings.load(None, {}, {"bootstrap.servers": bootstrap}, prefix=f"test-{os.getpid()}-", partitions=1)


@pytest.fixture(scope="module")
def workers(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    scenarios = [read_file(recorded.SCENARIOS / f"{name}.yaml").scenario for name in NAMES]
    expected = sum(workers_needed(it) for it in scenarios if it is not None)
    with closing(Workers(settings, tmp_path_factory.mktemp("workers"), expected)) as it:
        yield it


def exported(name: str, settings: Settings, workers: Workers, file: Path) -> None:
    """Run a document on Kafka, and export all that it left there."""
    scenario = read_file(recorded.SCENARIOS / f"{name}.yaml").scenario
    assert scenario is not None
    at = replace(settings, prefix=f"{settings.prefix}{recorded.documents().index(name)}-", partitions=PARTITIONS)
    with Sandbox(settings, at.prefix, scenario, workers, CODEC) as sandbox:
        engine = sandbox.engine()
        assert not engine.register(scenario.definitions)
        verdict = run(scenario, engine, engine.definitions)
        assert verdict.ok, verdict.problem
        with Client.of(at) as client:
            found = Live(client)
            found.limits = scenario.limits  # those of the worker, which are not on any topic
            ids = dict.fromkeys(command.wf_run_id for command, entries in engine.log if entries)
            export(found, ids, file, time.time_ns() // 1_000_000, clear=True)
    assert not sandbox.left


@pytest.mark.parametrize("name", NAMES)
def test_the_history_of_a_scenario_gives_its_verdict(
    settings: Settings, workers: Workers, name: str, tmp_path: Path
) -> None:
    exported(name, settings, workers, tmp_path / "x")
    with ExportFile(tmp_path / "x") as found:
        for wf_run_id in found.wf_run_ids():
            if any(isinstance(logged.entry.event, WfRunForked) for logged in found.events(wf_run_id)):
                with pytest.raises(NoScenario, match="is a fork of"):
                    made(found, wf_run_id, tmp_path)
                continue
            told = made(found, wf_run_id, tmp_path, Wanted(by_event=True))
            assert told.problem is None, told.draft.text
