"""Halter for Python: all that a program of yours imports is here, in `halter.commands`, `halter.events` and
`halter.workflow` (docs/python-api.md).

    from halter import Client, TaskWorker

A name is imported when it is first used, so `import halter` alone loads nothing that is slow. The folders in this
package are its parts, and programs outside do not import them; nor `processors`, the engine on which they stand.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from halter_kafka import NameTaken, expect_our_own

DISTRIBUTION = "halter-kafka"

try:
    expect_our_own()
except NameTaken as taken:
    # `python -m halter` imports this module first. The user of a command gets a sentence and no traceback.
    if sys.argv[:1] == ["-m"]:
        sys.exit(f"halter: {taken}")
    raise

if TYPE_CHECKING:
    from halter.client import (
        BeginningMissing,
        CannotFork,
        CannotSkip,
        Client,
        ClientClosed,
        CommandRejected,
        CommandSkipped,
        CorrelatedEventRejected,
        Correlation,
        CorrelationDecided,
        CorrelationOutcome,
        DeadLettered,
        DefinitionKind,
        DefinitionRefused,
        Follow,
        Followed,
        Forked,
        HalterError,
        History,
        InvalidArgument,
        KafkaUnavailable,
        LaterRelease,
        LogEntry,
        NewEvent,
        NoOutcome,
        NoSuchPartition,
        NotDelivered,
        NotEnded,
        NotSkipped,
        NotYet,
        OffsetGone,
        PartitionsDiffer,
        PartlyPosted,
        PlaceUnknown,
        Posted,
        PostedCorrelated,
        PostedFork,
        PostedSkip,
        RecordTooLarge,
        Registered,
        RejectionCode,
        Removal,
        Reset,
        Settings,
        SettingsError,
        Status,
        ThreadRun,
        Timestamp,
        TopicMissing,
        UpgradeNotOver,
        Value,
        VariableType,
        WfRun,
    )
    from halter.client.async_client import AsyncClient
    from halter.client.async_following import AsyncFollow
    from halter.client.async_posted import AsyncPosted, AsyncPostedCorrelated
    from halter.files.definition_files import InvalidDefinitions
    from halter.files.yaml_files import UnreadableFile
    from halter.history.forking import fork_point
    from halter.history.live import Live
    from halter.history.moments import NoSuchMoment
    from halter.history.source import NoSuchWfRun
    from halter.task_worker import BadExceptionName, BusinessException, Task, TaskWorker, WorkerNotStarted
    from halter.workflow import Workflow
    from processors.core.records.errors import NotInWfRun
    from processors.extras import ExtraMissing
    from processors.kafka.errors import TopicsFileError, UnknownTaskQueue

__all__ = [
    "AsyncClient",
    "AsyncFollow",
    "AsyncPosted",
    "AsyncPostedCorrelated",
    "BadExceptionName",
    "BeginningMissing",
    "BusinessException",
    "CannotFork",
    "CannotSkip",
    "Client",
    "ClientClosed",
    "CommandRejected",
    "CommandSkipped",
    "CorrelatedEventRejected",
    "Correlation",
    "CorrelationDecided",
    "CorrelationOutcome",
    "DeadLettered",
    "DefinitionKind",
    "DefinitionRefused",
    "ExtraMissing",
    "Follow",
    "Followed",
    "Forked",
    "HalterError",
    "History",
    "InvalidArgument",
    "InvalidDefinitions",
    "KafkaUnavailable",
    "LaterRelease",
    "Live",
    "LogEntry",
    "NewEvent",
    "NoOutcome",
    "NoSuchMoment",
    "NoSuchPartition",
    "NoSuchWfRun",
    "NotDelivered",
    "NotEnded",
    "NotInWfRun",
    "NotSkipped",
    "NotYet",
    "OffsetGone",
    "PartitionsDiffer",
    "PartlyPosted",
    "PlaceUnknown",
    "Posted",
    "PostedCorrelated",
    "PostedFork",
    "PostedSkip",
    "RecordTooLarge",
    "Registered",
    "RejectionCode",
    "Removal",
    "Reset",
    "Settings",
    "SettingsError",
    "Status",
    "Task",
    "TaskWorker",
    "ThreadRun",
    "Timestamp",
    "TopicMissing",
    "TopicsFileError",
    "UnknownTaskQueue",
    "UnreadableFile",
    "UpgradeNotOver",
    "Value",
    "VariableType",
    "WfRun",
    "WorkerNotStarted",
    "Workflow",
    "fork_point",
]

_HOMES = {
    "AsyncClient": "halter.client.async_client",
    "AsyncFollow": "halter.client.async_following",
    **dict.fromkeys(("AsyncPosted", "AsyncPostedCorrelated"), "halter.client.async_posted"),
    **dict.fromkeys(
        ("BadExceptionName", "BusinessException", "Task", "TaskWorker", "WorkerNotStarted"), "halter.task_worker"
    ),
    "ExtraMissing": "processors.extras",
    "InvalidDefinitions": "halter.files.definition_files",
    "Live": "halter.history.live",
    "NotInWfRun": "processors.core.records.errors",
    "NoSuchMoment": "halter.history.moments",
    "NoSuchWfRun": "halter.history.source",
    "TopicsFileError": "processors.kafka.errors",
    "UnknownTaskQueue": "processors.kafka.errors",
    "UnreadableFile": "halter.files.yaml_files",
    "Workflow": "halter.workflow",
    "fork_point": "halter.history.forking",
}
"""The module that has a name, if it is another than `halter.client`."""


def __getattr__(name: str) -> Any:
    """Import a name of the API when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'halter' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    found = getattr(import_module(_HOMES.get(name, "halter.client")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
