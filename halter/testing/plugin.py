"""The plugin for pytest: the fixtures `workflow_env` and `halter_kafka`, and scenario documents as tests.

pytest imports this module in every run of whoever has installed Halter. So it imports nothing of ours before a test or
a document needs it.
"""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

if TYPE_CHECKING:
    from halter.testing.env import Source, Tasks, WorkflowEnv
    from halter.testing.kafka import Installations, KafkaInstallation

SCENARIOS: Final = "halter_scenarios"
STUCK: Final = "halter_stuck_seconds"
KAFKA_FIXTURE: Final = "halter_kafka"
SECTION: Final = "halter"
WIDTH_ELSEWHERE: Final = 140
"""Columns of a report that is no terminal's: the log of a CI, a file. pytest itself takes 80 there."""
KAFKA: Final[pytest.StashKey["KafkaInstallation"]] = pytest.StashKey()
ENVS: Final[pytest.StashKey[list["WorkflowEnv"]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings of `pytest.ini` and its like."""
    parser.addini(
        SCENARIOS,
        "Halter: patterns of the names of files that are collected as scenario documents",
        type="args",
        default=["*.scenario.yaml", "*.scenario.yml", "*.scenario.json"],
    )
    parser.addini(STUCK, "Halter: seconds of real time that a task function may run in workflow_env", default="30")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a scenario document."""
    if not any(fnmatch(file_path.name, pattern) for pattern in parent.config.getini(SCENARIOS)):
        return None
    from halter.testing.scenario_items import ScenarioFile

    collected: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
    return collected


class MakeEnv(Protocol):
    """The fixture `workflow_env`: call it with definitions and tasks."""

    def __call__(
        self, *definitions: "Source", tasks: "Tasks" = (), start: datetime | None = None, stuck_s: float | None = None
    ) -> "WorkflowEnv":
        """Return an environment, which is closed when the test is over. The arguments are those of WorkflowEnv."""


@pytest.fixture
def workflow_env(request: pytest.FixtureRequest) -> Iterator[MakeEnv]:
    """Make a WorkflowEnv: `env = workflow_env("cart.yaml", tasks=worker)`. Files are looked for beside the test."""
    from halter.testing.env import START, WorkflowEnv

    made: list[WorkflowEnv] = []
    request.node.stash[ENVS] = made
    patience_s = _stuck_seconds(request.config)

    def make(
        *definitions: "Source", tasks: "Tasks" = (), start: datetime | None = None, stuck_s: float | None = None
    ) -> WorkflowEnv:
        made.append(
            WorkflowEnv(
                *definitions,
                tasks=tasks,
                start=START if start is None else start,
                folder=request.path.parent,
                stuck_s=patience_s if stuck_s is None else stuck_s,
            )
        )
        return made[-1]

    yield make
    while made:  # pytest keeps what a test has stashed until the session is over
        made.pop().close()


@pytest.fixture(scope="session")
def halter_installations(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Installations"]:
    """Make installations of Halter on a Kafka: `with halter_installations.new() as kafka:`.

    The Kafka is the embedded one, which all processes of the session share, or the one that HALTER_BOOTSTRAP names.
    """
    from halter.testing.kafka import Installations, expect_installed
    from processors.core.records.errors import HalterError

    wanted = sum(KAFKA_FIXTURE in getattr(item, "fixturenames", ()) for item in request.session.items)
    in_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    problem: str | None = None
    bootstrap = os.environ.get("HALTER_BOOTSTRAP", "")
    with ExitStack() as closing:
        try:
            expect_installed()
            if not bootstrap:
                from halter.testing.broker import shared_broker

                base = tmp_path_factory.getbasetemp()
                shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
                bootstrap = closing.enter_context(shared_broker(shared / "halter-broker"))
        except HalterError as error:
            problem = str(error)
        if problem is not None:
            pytest.fail(problem, pytrace=False)
        made = Installations(bootstrap, lambda: tmp_path_factory.mktemp("halter"), math.ceil(wanted / in_processes))
        closing.callback(made.close)
        yield made


@pytest.fixture
def halter_kafka(
    request: pytest.FixtureRequest, halter_installations: "Installations"
) -> Iterator["KafkaInstallation"]:
    """Return Halter on a real Kafka, with topics, a worker and a client that no other test uses."""
    from processors.core.records.errors import HalterError

    problem: str | None = None
    installation: KafkaInstallation | None = None
    with ExitStack() as closing:
        try:
            installation = closing.enter_context(halter_installations.new())
        except HalterError as error:
            problem = str(error)
        if installation is None:  # here: pytest would print the error as well
            pytest.fail(f"{problem}", pytrace=False)
        request.node.stash[KAFKA] = installation
        yield installation
        del request.node.stash[KAFKA]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add what happened to the WfRuns of a test that has failed."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    if call.when == "teardown" or not report.failed:
        return
    width = _width(item.config)
    made: list[WorkflowEnv] = item.stash.get(ENVS, [])
    for number, env in enumerate(made, start=1):
        name = SECTION if number == 1 else f"{SECTION} {number}"
        report.sections.append((f"{name}: what happened to the WfRuns", _told(env, width)))
    if (installation := item.stash.get(KAFKA, None)) is not None:
        report.sections.append((f"{SECTION} on Kafka: what happened to the WfRuns", _told(installation, width)))


def _stuck_seconds(config: pytest.Config) -> float:
    """Return the setting. What is no such time fails the test with a sentence."""
    written = config.getini(STUCK)
    with suppress(ValueError):
        if 0 < (seconds := float(written)) <= threading.TIMEOUT_MAX:
            return seconds
    pytest.fail(f"{STUCK}: expected a number of seconds above 0, found {written!r}", pytrace=False)


def _told(env: "WorkflowEnv | KafkaInstallation", width: int) -> str:
    """Return the report; if it cannot be made, why: it must not hide the failure that it is about."""
    try:
        return env.report(width=width)
    except Exception as error:  # noqa: BLE001  as above
        return f"the report could not be made: {type(error).__name__}: {error}"


def _width(config: pytest.Config) -> int:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        return WIDTH_ELSEWHERE
    return max(80, min(int(reporter._tw.fullwidth), 160))


__all__: Sequence[str] = ["halter_installations", "halter_kafka", "workflow_env"]
