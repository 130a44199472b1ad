"""Puts all checks of an installation together, in the order of the report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from confluent_kafka.admin import AdminClient

from halter.doctor import beside, connection, hanging, letters, quarantine, rights, schemas, topics, workers, writing
from halter.doctor.cluster import Cluster
from halter.doctor.examination import CHECK_SECONDS, Check, examine
from halter.doctor.findings import Examined, Finding, Verdict
from halter.topics.acls import services_named
from processors.kafka.errors import KafkaUnavailable
from processors.kafka.settings import Settings

CONNECTION: Final = "connection"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller asks for. `tries`: transactions may be begun and aborted. `health`: addresses of probes."""

    service: str | None = None
    tries: bool = True
    view: str | None = None
    """Where the view is; None for the usual file, if it is there."""
    health: Sequence[str] = ()
    health_is_named: bool = False
    connect_s: float = 3.0
    check_s: float = CHECK_SECONDS


@dataclass(frozen=True, slots=True)
class Checkup:
    """All findings about an installation. `unreachable`: why no check could ask Kafka; None if Kafka answers."""

    examined: Sequence[Examined]
    took_s: float
    unreachable: KafkaUnavailable | None = None
    not_looked_at: Sequence[str] = ()
    """The checks that need Kafka, where it does not answer."""


def checkup(settings: Settings, wanted: Wanted) -> Checkup:
    """Examine an installation. It takes no longer than two time-outs: that of the connection and that of checks.

    Raises UnknownService, and what the settings raise: for a topics.yaml that cannot be used, for instance.
    """
    begun = time.monotonic()
    installation = settings.topics()
    services_named(installation, wanted.service)
    cluster = Cluster(settings, installation, AdminClient(settings.admin()))
    unreachable = None
    try:
        settings.reach(cluster.admin, installation.wf_events, wanted.connect_s)
    except KafkaUnavailable as error:
        unreachable = error
    answered_ms = (time.monotonic() - begun) * 1_000
    of_kafka = _of_kafka(cluster, wanted, answered_ms)
    others = _others(settings, wanted)
    if unreachable is None:
        return Checkup(examine([*of_kafka, *others], settings, wanted.check_s), time.monotonic() - begun)
    found = [
        Examined(CONNECTION, (Finding(Verdict.WRONG, str(unreachable), "start Kafka, or name its address"),)),
        *examine(others, settings, wanted.check_s),
    ]
    not_looked_at = [it.name for it in of_kafka if it.name != CONNECTION]
    return Checkup(found, time.monotonic() - begun, unreachable, not_looked_at)


def _of_kafka(cluster: Cluster, wanted: Wanted, answered_ms: float) -> list[Check]:
    attempted = writing.attempt(cluster, tries=wanted.tries)
    return [
        Check(CONNECTION, partial(connection.connection, cluster, answered_ms), "asking for the brokers"),
        Check("versions", partial(connection.versions, cluster), "asking for versions"),
        Check("rights", partial(rights.rights, cluster, wanted.service, tries=wanted.tries), "asking for rights"),
        Check("topics", partial(topics.topics, cluster), "comparing topics"),
        Check("replicas", partial(topics.replicas, cluster), "looking at replicas"),
        Check("transaction", partial(writing.transaction, cluster, attempted), "trying a transaction"),
        Check("clocks", partial(writing.clocks, cluster, attempted), "comparing clocks"),
        Check("hanging", partial(hanging.hanging, cluster), "looking for hanging transactions"),
        Check("workers", partial(workers.workers, cluster), "asking for the workers"),
        Check("folding", partial(workers.folding, cluster), "looking for what waits"),
        Check("quarantine", partial(quarantine.quarantine, cluster), "looking for WfRuns in quarantine"),
        Check("task workers", partial(workers.task_workers, cluster), "asking for task workers"),
        Check("dead letters", partial(letters.dead_letters, cluster), "reading dead letters"),
        Check("schemas", partial(schemas.schemas, cluster), "looking at schemas"),
    ]


def _others(settings: Settings, wanted: Wanted) -> list[Check]:
    return [
        Check("registry", partial(beside.registry, settings), "asking the Schema Registry"),
        Check("view", partial(beside.view, wanted.view, settings.prefix), "reading the view"),
        Check("health", partial(beside.health, wanted.health, named=wanted.health_is_named), "asking for health"),
    ]
