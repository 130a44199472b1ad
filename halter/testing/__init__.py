"""Tests of workflows: with their real task functions in memory and a virtual clock, or on a real Kafka.

env             runs workflows in memory: what a test does, and what it sees
views           the state of a WfRun, for assertions
report          what is printed when a test fails
task_running    runs task functions as a task worker does, in virtual time
relay           threads of which one runs at a time
virtual_loop    an event loop in virtual time
known           definitions that were read before, for the next test
kafka           installations on a real Kafka, one for each test
broker          the embedded broker that the processes of a session share
scenario_items  scenario documents as tests
plugin          fixtures and scenario documents for pytest; imports nothing of the above before a test asks for it
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halter.testing.env import NeverSo, NoSuchWfRunHere, Outcome, WorkflowEnv
    from halter.testing.kafka import Installations, KafkaInstallation, TaskWorkerNotReady
    from halter.testing.plugin import MakeEnv
    from halter.testing.relay import Stuck
    from halter.testing.task_running import Hold, NoTaskFunction, TaskAttempt
    from halter.testing.views import ThreadView, WfRunView
    from processors.core.records.errors import NotInWfRun

__all__ = [
    "Hold",
    "Installations",
    "KafkaInstallation",
    "MakeEnv",
    "NeverSo",
    "NoSuchWfRunHere",
    "NoTaskFunction",
    "NotInWfRun",
    "Outcome",
    "Stuck",
    "TaskAttempt",
    "TaskWorkerNotReady",
    "ThreadView",
    "WfRunView",
    "WorkflowEnv",
]
_HOMES = {
    **dict.fromkeys(("Hold", "NoTaskFunction", "TaskAttempt"), "halter.testing.task_running"),
    **dict.fromkeys(("Installations", "KafkaInstallation", "TaskWorkerNotReady"), "halter.testing.kafka"),
    "MakeEnv": "halter.testing.plugin",
    "Stuck": "halter.testing.relay",
    **dict.fromkeys(("ThreadView", "WfRunView"), "halter.testing.views"),
    "NotInWfRun": "processors.core.records.errors",
}
"""The module that has a name, if it is another than `halter.testing.env`."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: pytest imports this package in every run."""
    if name not in __all__:
        raise AttributeError(f"module 'halter.testing' has no attribute {name!r}")
    found = getattr(import_module(_HOMES.get(name, "halter.testing.env")), name)
    globals()[name] = found
    return found
