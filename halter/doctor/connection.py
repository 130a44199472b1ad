"""Looks at the brokers, and at the versions of everything that takes part."""

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaException

from halter import DISTRIBUTION
from halter.doctor.cluster import Brokers, Cluster
from halter.doctor.findings import Finding, Verdict, listed

SAFE_BROKERS: Final = 3
OLD_PROTOCOL: Final = "inter.broker.protocol.version"
"""A setting that brokers have before Kafka 4.0."""


def connection(cluster: Cluster, answered_ms: float) -> Iterator[Finding]:
    """Say where Kafka is. It has answered, or no check would run."""
    brokers = cluster.brokers()
    count = f"{len(brokers.alive)} broker{'' if len(brokers.alive) == 1 else 's'}"
    data = {
        "bootstrap": cluster.settings.bootstrap,
        "cluster_id": brokers.cluster_id,
        "brokers": [it.address for it in brokers.alive],
        "answered_ms": round(answered_ms, 1),
    }
    said = f"{cluster.settings.bootstrap} answers in {answered_ms:.0f} ms: {count}, cluster {brokers.cluster_id}"
    if len(brokers.alive) == SAFE_BROKERS - 1:
        yield Finding(
            Verdict.WARNING,
            f"{said}; two brokers are one too few to lose one",
            f"run {SAFE_BROKERS} brokers, or start the one that is down",
            data,
        )
        return
    single = "; a single broker is for development (ADR 1)" if len(brokers.alive) == 1 else ""
    yield Finding(Verdict.FINE, said + single, data=data)


def versions(cluster: Cluster) -> Iterator[Finding]:
    """Say which versions take part, and which schemas are written."""
    spec = find_spec("processors.core.rules.engine")
    core = "core in Python" if spec is None or str(spec.origin).endswith(".py") else "compiled core"
    halter, librdkafka = version(DISTRIBUTION), confluent_kafka.libversion()[0]
    kafka = _kafka(cluster, cluster.brokers())
    data = {
        "halter": halter,
        "core": core,
        "librdkafka": librdkafka,
        "kafka": kafka,
        "schemas": cluster.settings.schemas or halter,
    }
    told = "" if kafka is None else f", {kafka}"
    yield Finding(Verdict.FINE, f"halter {halter} ({core}), librdkafka {librdkafka}{told}", data=data)
    release = cluster.settings.schemas
    if release is not None:
        new = listed(sorted(it.removeprefix(cluster.topics.prefix) for it in cluster.topics.may_be_missing))
        yield Finding(
            Verdict.WARNING,
            f"HALTER_SCHEMAS={release}: whoever has it writes as that release did"
            + (f", and nobody uses {new}" if new else ""),
            f"end the upgrade: when no worker of {release} runs any more, remove HALTER_SCHEMAS (docs/upgrades.md)",
        )


def _kafka(cluster: Cluster, brokers: Brokers) -> str | None:
    """Return what the brokers tell about their version. Clients of librdkafka are not told it as such."""
    if "DESCRIBE_CONFIGS" not in brokers.rights or not brokers.alive:
        return None
    try:
        configs = cluster.config_of_broker(brokers.alive[0].id)
    except (KafkaException, TimeoutError):
        return None
    if not configs:
        return None
    protocol = configs.get(OLD_PROTOCOL)
    return f"Kafka's protocol {protocol}" if protocol else "Kafka 4.0 or newer"
