"""The client: posts commands and ExternalEvents, says what became of them, and reads WfRuns and their logs.

`Client`, what its calls take, return and raise are importable from here. `AsyncClient` is in
`halter.client.async_client`, for which commands have no use. Programs outside import all of it from `halter`.

    client, connecting           puts the parts together; where Kafka is
    arguments, asking, ids       from what a caller gives to a command and its bytes
    sending, batch, registry     produces records, and waits until Kafka has them
    outcomes, waiting            waits for what became of a record
    lost_outcomes, log_ends      why an outcome does not come; where the log ends
    reading, log_records         reads partitions, and decodes what workers write
    definitions_seen, meant      the definitions that a client knows, and near names
    refused                      why workers refuse definitions in which a client finds nothing wrong
    wf_run_reader, wf_run_rows   the present state of a WfRun
    history, events_of_wf_run    its events, and the states that follow from them
    following                    the events of the log as they come
    forking, migrating, moments  what a fork, a reset and a migration need before they are sent
    skipping, dead_letters       past a record that breaks a rule; the retry of a dead letter
    workers                      which workers and task workers there are
    async_client                 the same for asyncio, with `async_following`, `async_posted`, `deliveries` and `watch`
    errors                       all errors, each with who acts
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
    CorrelatedEventRejected,
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
from halter.client.outcomes import Posted, PostedCorrelated, PostedFork, PostedSkip, Registered
from halter.client.sending import Sending
from processors.core.records.commands import DefinitionKind
from processors.core.records.errors import HalterError
from processors.core.records.events import CorrelationDecided, CorrelationOutcome, LogEntry, RejectionCode
from processors.core.records.model import Correlation, Status, ThreadRun, WfRun
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
    "CorrelatedEventRejected",
    "Correlation",
    "CorrelationDecided",
    "CorrelationOutcome",
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
    "PostedCorrelated",
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
