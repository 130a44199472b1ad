"""The librdkafka properties that every client of Halter has, and those that a user may not set.

The engine's guarantees rest on some properties (acks, idempotence, the partitioner, read_committed, commits). They are
set here for everybody. A user's setting that says otherwise is refused with the reason, not silently overruled.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

from confluent_kafka import Consumer, KafkaException, Producer

from processors.kafka.errors import SettingsError

KNOWN_PROPERTIES: Final = (
    # For hints after a typo only; librdkafka knows all properties.
    "bootstrap.servers",
    "client.id",
    "client.rack",
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.token.endpoint.url",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "compression.type",
    "linger.ms",
    "socket.timeout.ms",
    "debug",
    "schema.registry.url",
    "schema.registry.basic.auth.user.info",
)

ClientKind = Literal["consumer", "producer"]
Conf = dict[str, Any]
"""Configuration of a client of confluent_kafka."""

COMMON: Final[Conf] = {
    "client.id": "halter",
    # A client notices soon that a broker has started or come back; librdkafka's own value is 10 s.
    "reconnect.backoff.max.ms": 1_000,
}

# Topics are created from topics.yaml only, even where brokers would create them.
ALWAYS: Final[Conf] = {"allow.auto.create.topics": False}
ALWAYS_PRODUCER: Final[Conf] = {
    **ALWAYS,
    "partitioner": "murmur2_random",
    "enable.idempotence": True,
    "acks": "all",
}
ALWAYS_CONSUMER: Final[Conf] = {
    **ALWAYS,
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
}
REASONS: Final[Mapping[str, str]] = {
    "allow.auto.create.topics": "topics come from topics.yaml alone",
    "partitioner": "the workers refuse records that another partitioner put elsewhere",
    "enable.idempotence": "without it records may be doubled or change places",
    "acks": "with less a record may be lost after it was acknowledged",
    "isolation.level": "what was not committed did not happen",
    "enable.auto.commit": "offsets are committed together with what was made of the records",
    "enable.auto.offset.store": "offsets are committed together with what was made of the records",
    "auto.offset.reset": "a position that is lost must stop a worker, not skip or repeat history",
    "partition.assignment.strategy": "shards move one by one, while a worker goes on with the others",
    "group.id": "the group is named in topics.yaml",
    "group.instance.id": "it is made of the group's name and the worker's slot",
    "enable.partition.eof": "each client wants it or does not, as it needs",
    "transactional.id": "it is made of the group's name and the worker's slot",
}
ALWAYS_MEMBER: Final[Conf] = {"partition.assignment.strategy": "cooperative-sticky"}
"""For members of the workers' group under the classic protocol; the other protocol refuses it."""

TRANSACTION_MS: Final = range(5_000, 60_001)
"""Range of transaction.timeout.ms. A turn may take seconds, and readers wait for a transaction that a dead worker left
open.
"""

SCHEMES: Final = frozenset({"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"})
"""What may stand before `://host:port`: a value of security.protocol."""

ALIASES: Final[Mapping[str, str]] = {"request.required.acks": "acks"}


def check_properties(properties: Mapping[str, str], sources: Mapping[str, str]) -> None:
    """Refuse properties that librdkafka does not know or accept, and those that would break the engine's guarantees."""
    for key, value in properties.items():
        name = ALIASES.get(key, key)
        fixed = {**ALWAYS_PRODUCER, **ALWAYS_CONSUMER, **ALWAYS_MEMBER}.get(name)
        if name in REASONS and not same(name, value, fixed):
            ours = "sets it itself" if fixed is None else f"always uses {name}={spelled(fixed)}"
            raise SettingsError(f"{key}={value} from {sources[key]}: Halter {ours}, because {REASONS[name]}")
    if not properties["bootstrap.servers"].strip():
        raise SettingsError(f"bootstrap.servers from {sources['bootstrap.servers']}: expected host:port, found nothing")
    for server in properties["bootstrap.servers"].split(","):
        # librdkafka passes over a server that has another one, and then has none.
        scheme, there, _ = server.strip().partition("://")
        if there and scheme.upper() not in SCHEMES:
            raise SettingsError(
                f"bootstrap.servers from {sources['bootstrap.servers']}: expected host:port, found '{server.strip()}'"
            )
        # librdkafka would connect to what is left of it modulo 65,536, and to port 0 if it is no number.
        port = re.search(r"(?:^|//)(?:[^:\[\]]*|\[[^\]]*\]):([^:/]+)$", server.strip())
        if port is not None and not (port[1].isdecimal() and 0 < int(port[1]) < 65_536):
            raise SettingsError(
                f"bootstrap.servers from {sources['bootstrap.servers']}: expected a port from 1 to 65535, found "
                f"'{server.strip()}'"
            )
    reason = refusal(properties)
    if reason is not None:
        raise SettingsError(invalid(reason, properties, sources))
    name = "transaction.timeout.ms"
    if name in properties and int(properties[name], 0) not in TRANSACTION_MS:
        raise SettingsError(
            f"{name}={properties[name]} from {sources[name]}: expected {TRANSACTION_MS[0]} to {TRANSACTION_MS[-1]}, "
            "because a turn of less is cut off, and for longer readers would wait for what a dead worker left open"
        )


def same(name: str, value: str, fixed: Any) -> bool:
    """Return True if a user's value means the same as the fixed one."""
    if fixed is None:
        return False
    synonyms = {"acks": {"all", "-1"}, "true": {"true", "t", "1"}, "false": {"false", "f", "0"}}
    return value.lower() in synonyms.get(name, synonyms.get(spelled(fixed), {spelled(fixed)}))


def spelled(value: Any) -> str:
    """Write a value as librdkafka does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def invalid(reason: str, properties: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Return a sentence: which property librdkafka refused, where it was set, and which may have been meant."""
    for key, value in properties.items():
        # librdkafka may name the property otherwise than the user did. Trying each alone shows which one it means.
        if "propert" in reason and refusal({key: value}) == reason:
            if "No such configuration property" not in reason:
                return f"{key} from {sources[key]}: {reason}"
            close = difflib.get_close_matches(key, KNOWN_PROPERTIES, n=1, cutoff=0.75)
            hint = f"; did you mean {close[0]}?" if close else ""
            return f"{key} from {sources[key]}: librdkafka has no such property{hint}"
    set_by_user = sorted(f"{key} from {source}" for key, source in sources.items() if key != "bootstrap.servers")
    return f"librdkafka refuses these properties: {reason}. They are: {', '.join(set_by_user)}"


def refusal(properties: Mapping[str, str]) -> str | None:
    """Make a client that contacts nobody. Return librdkafka's reason if it refuses, None if it does not."""
    rest = {key: value for key, value in properties.items() if key != "bootstrap.servers"}
    if not rest:
        return None
    try:
        Producer({**rest, "logger": Heard()})
    except KafkaException as exception:
        reason: str = exception.args[0].str()
        return reason
    return None


class Heard:
    """A logger that keeps what a client says about its configuration."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def log(self, _level: int, message: str, *arguments: object) -> None:
        """Keep the text."""
        self.texts.append(message % arguments)


@cache
def is_for(kind: ClientKind, key: str, value: str) -> bool:
    """Return True if a property concerns that kind of client. One file serves all kinds, as with kcat.

    librdkafka warns about a property of the other kind when a client is made and polled. Such a property is not passed
    on, or every process would warn.
    """
    if key == "bootstrap.servers":
        return True
    heard = Heard()
    try:
        if kind == "consumer":
            consumer = Consumer({"group.id": "check", key: value, "logger": heard})
            consumer.poll(0)
            consumer.close()
        else:
            Producer({key: value, "logger": heard}).poll(0)
    except KafkaException:
        return True  # it needs others of its family, as sasl.* do; those are for every client
    return not any("will be ignored by this" in text for text in heard.texts)
