"""Which librdkafka properties a client of Halter may have: what is the same for every client, and what is refused.

What the engine's guarantees rest on (acks, idempotence, the partitioner, read_committed, commits) is set here for
everybody. A user's setting that says otherwise is refused with the reason, not overruled in silence.
"""

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

from confluent_kafka import Consumer, KafkaException, Producer

from processors.kafka.errors import SettingsError

KNOWN_PROPERTIES: Final = (
    # Only for hints after a typo; librdkafka knows all of them.
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
"""What confluent_kafka's clients take."""

COMMON: Final[Conf] = {
    "client.id": "halter",
    # Whoever waits for a broker that starts, or comes back, hears of it soon; librdkafka would look every 10 s.
    "reconnect.backoff.max.ms": 1_000,
}

# Nobody but topics.yaml makes topics, also where brokers would.
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
"""For members of the workers' group under the classic protocol alone; others are refused it."""

TRANSACTION_MS: Final = range(5_000, 60_001)
"""transaction.timeout.ms: a turn may take seconds, and readers wait for what a dead worker left open."""

ALIASES: Final[Mapping[str, str]] = {"request.required.acks": "acks"}


def check_properties(properties: Mapping[str, str], sources: Mapping[str, str]) -> None:
    """Refuse what librdkafka does not know or take, and what would break the engine's promises."""
    for key, value in properties.items():
        name = ALIASES.get(key, key)
        fixed = {**ALWAYS_PRODUCER, **ALWAYS_CONSUMER, **ALWAYS_MEMBER}.get(name)
        if name in REASONS and not same(name, value, fixed):
            ours = "sets it itself" if fixed is None else f"always uses {name}={spelled(fixed)}"
            raise SettingsError(f"{key}={value} from {sources[key]}: Halter {ours}, because {REASONS[name]}")
    if not properties["bootstrap.servers"].strip():
        raise SettingsError(f"bootstrap.servers from {sources['bootstrap.servers']}: expected host:port, found nothing")
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
    """Whether a user's value means what we set anyway."""
    if fixed is None:
        return False
    synonyms = {"acks": {"all", "-1"}, "true": {"true", "t", "1"}, "false": {"false", "f", "0"}}
    return value.lower() in synonyms.get(name, synonyms.get(spelled(fixed), {spelled(fixed)}))


def spelled(value: Any) -> str:
    """Write a value as librdkafka does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def invalid(reason: str, properties: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Say which property librdkafka refused, where it was set, and what may have been meant."""
    for key, value in properties.items():
        # It may name the property by another name than the user did; which one it means shows when it is alone.
        if "propert" in reason and refusal({key: value}) == reason:
            if "No such configuration property" not in reason:
                return f"{key} from {sources[key]}: {reason}"
            close = difflib.get_close_matches(key, KNOWN_PROPERTIES, n=1, cutoff=0.75)
            hint = f"; did you mean {close[0]}?" if close else ""
            return f"{key} from {sources[key]}: librdkafka has no such property{hint}"
    set_by_user = sorted(f"{key} from {source}" for key, source in sources.items() if key != "bootstrap.servers")
    return f"librdkafka refuses these properties: {reason}. They are: {', '.join(set_by_user)}"


def refusal(properties: Mapping[str, str]) -> str | None:
    """Make a client that contacts nobody; return why librdkafka does not want to, None if it does."""
    rest = {key: value for key, value in properties.items() if key != "bootstrap.servers"}
    try:
        Producer({**rest, "logger": Heard()})
    except KafkaException as exception:
        reason: str = exception.args[0].str()
        return reason
    return None


class Heard:
    """Takes the place of a logger and keeps what a client says about its configuration."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def log(self, _level: int, message: str, *arguments: object) -> None:
        """Keep the text."""
        self.texts.append(message % arguments)


@cache
def is_for(kind: ClientKind, key: str, value: str) -> bool:
    """Whether a property concerns that kind of client: one file serves them all, as with kcat.

    librdkafka knows, and says so when a client is made and polled; passing on what concerns only others would
    have it warn in every process.
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
        return True  # of no use without others of its family, as with sasl.*: those are for every client
    return not any("will be ignored by this" in text for text in heard.texts)
