"""The commands, for whoever writes records to Kafka without a `Client`: the Faust codec, for one.

A command becomes an input record: its topic and key are in docs/topics.md, its fields in docs/records.md.
"""

from processors.core.records.commands import (
    CorrelatedEvent,
    DeleteWfRun,
    ExternalEvent,
    ForkWfRun,
    MigrateWfRun,
    RescueThreadRun,
    ResumeWfRun,
    RunWf,
    RunWfAndPost,
    StopWfRun,
)

__all__ = [
    "CorrelatedEvent",
    "DeleteWfRun",
    "ExternalEvent",
    "ForkWfRun",
    "MigrateWfRun",
    "RescueThreadRun",
    "ResumeWfRun",
    "RunWf",
    "RunWfAndPost",
    "StopWfRun",
]
