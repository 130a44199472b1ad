"""The client: posts commands and ExternalEvents, says what became of them, and reads WfRuns and their logs.

`Client` and what it raises are importable from here.
"""

from halter.client.client import (
    Client,
    ClientClosed,
    CommandRejected,
    CommandSkipped,
    DefinitionRefused,
    InvalidArgument,
    NotDelivered,
    NotEnded,
    PlaceUnknown,
    Posted,
    PostedSkip,
    Put,
    RecordTooLarge,
    UpgradeNotOver,
)
from halter.client.lost_outcomes import DeadLettered, NoOutcome
from halter.client.skipping import CannotSkip, NoSuchPartition, NotSkipped
from processors.kafka.settings import Settings

__all__ = [
    "CannotSkip",
    "Client",
    "ClientClosed",
    "CommandRejected",
    "CommandSkipped",
    "DeadLettered",
    "DefinitionRefused",
    "InvalidArgument",
    "NoOutcome",
    "NoSuchPartition",
    "NotDelivered",
    "NotEnded",
    "NotSkipped",
    "PlaceUnknown",
    "Posted",
    "PostedSkip",
    "Put",
    "RecordTooLarge",
    "Settings",
    "UpgradeNotOver",
]
