"""The client: posts commands and ExternalEvents, says what became of them, and reads WfRuns and their logs.

`Client`, what its calls take, return and raise are importable from here.
"""

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
    NoOutcome,
    NoSuchPartition,
    NotDelivered,
    NotEnded,
    NotSkipped,
    PartitionsDiffer,
    PlaceUnknown,
    RecordTooLarge,
    TopicMissing,
    UpgradeNotOver,
)
from halter.client.forking import Forked, Removal, Reset
from halter.client.history import History
from halter.client.outcomes import Posted, PostedFork, PostedSkip, Registered
from halter.client.sending import Sending
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.values import Timestamp, Value
from processors.kafka.errors import KafkaUnavailable
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
    "Forked",
    "HalterError",
    "History",
    "InvalidArgument",
    "KafkaUnavailable",
    "NoOutcome",
    "NoSuchPartition",
    "NotDelivered",
    "NotEnded",
    "NotSkipped",
    "PartitionsDiffer",
    "PlaceUnknown",
    "Posted",
    "PostedFork",
    "PostedSkip",
    "RecordTooLarge",
    "Registered",
    "Removal",
    "Reset",
    "Sending",
    "Settings",
    "Timestamp",
    "TopicMissing",
    "UpgradeNotOver",
    "Value",
]
