"""The client: posts commands and ExternalEvents, says what became of them, and reads WfRuns and their logs.

`Client`, what its calls take, return and raise are importable from here. `AsyncClient` is in
`halter.client.async_client`, for which commands have no use. Programs outside import all of it from `halter`.
"""

from halter.client.asking import NewEvent
from halter.client.client import Client
from halter.client.errors import (
    BeginningMissing,
    CannotFork,
    CannotSkip,
    ClientClosed,
    CommandRejected,
    CommandSkipped,
    DeadLettered,
    DefinitionRefused,
    InvalidArgument,
    LaterRelease,
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
    RecordTooLarge,
    TopicMissing,
    UpgradeNotOver,
)
from halter.client.following import Follow, Followed
from halter.client.forking import Forked, Removal, Reset
from halter.client.history import History
from halter.client.outcomes import Posted, PostedFork, PostedSkip, Registered
from halter.client.sending import Sending
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.events import LogEntry, RejectionCode
from processors.core.records.model import Status, ThreadRun, WfRun
from processors.core.records.values import Timestamp, Value, VariableType
from processors.kafka.errors import KafkaUnavailable, SettingsError
from processors.kafka.settings import Settings

__all__ = [
    "BeginningMissing",
    "CannotFork",
    "CannotSkip",
    "Client",
    "ClientClosed",
    "CommandRejected",
    "CommandSkipped",
    "DeadLettered",
    "DefinitionKind",
    "DefinitionRefused",
    "Follow",
    "Followed",
    "Forked",
    "HalterError",
    "History",
    "InvalidArgument",
    "KafkaUnavailable",
    "LaterRelease",
    "LogEntry",
    "NewEvent",
    "NoOutcome",
    "NoSuchPartition",
    "NotDelivered",
    "NotEnded",
    "NotSkipped",
    "NotYet",
    "OffsetGone",
    "PartitionsDiffer",
    "PartlyPosted",
    "PlaceUnknown",
    "Posted",
    "PostedFork",
    "PostedSkip",
    "RecordTooLarge",
    "Registered",
    "RejectionCode",
    "Removal",
    "Reset",
    "Sending",
    "Settings",
    "SettingsError",
    "Status",
    "ThreadRun",
    "Timestamp",
    "TopicMissing",
    "UpgradeNotOver",
    "Value",
    "VariableType",
    "WfRun",
]
