"""Where Kafka is and how to speak to it: one place for every client of the engine and of the tools.

Properties are librdkafka's. They come from a properties file (`key=value` lines, as kcat's `-F` reads), are
overridden by variables (`KAFKA_BOOTSTRAP_SERVERS` is `bootstrap.servers`), and those by flags. `properties` reads
them, `property_checks` says which a client may have, and `own_variables` reads what is Halter's own.

Nothing here prints a secret: `repr` and `describe` redact them.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from processors.codec import Codec, Schemas
from processors.codec.framing import BothFramings, SingleObject
from processors.codec.registry import ConfluentRegistry, WireFormat
from processors.extras import needing
from processors.kafka.client_errors import REFUSALS, SILENCE, UNEXPLAINED, ClientErrors, ClientLog
from processors.kafka.errors import KafkaSilent, KafkaUnavailable, SettingsError
from processors.kafka.own_variables import (
    CONFLUENT,
    SINGLE_OBJECT,
    check_own_variables,
    framing_settings,
    store_settings,
    traces,
    whole_number,
)
from processors.kafka.properties import REGISTRY_PREFIX, from_file, from_variables, redacted
from processors.kafka.property_checks import (
    ALWAYS,
    ALWAYS_CONSUMER,
    ALWAYS_PRODUCER,
    COMMON,
    ClientKind,
    Conf,
    check_properties,
    is_for,
)
from processors.kafka.topics import Topics
from processors.kafka.topics_file import load_topics

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from processors.kafka.tracing import Tracing

DEFAULT_BOOTSTRAP: Final = "localhost:9092"
FIRST_LOOK_SECONDS: Final = 0.5
"""How long `reach` waits before it looks whether Kafka refused. To take the first errors, and to log them, may take a
while: that is over before the time is, so that it does not come on top of it.
"""
LOOK_SECONDS: Final = 3.0
"""How long it waits then. Doubles each time, for slow networks."""


@dataclass(frozen=True)
class Settings:
    """Properties for all clients, and Halter's own settings.

    `properties` are those that the user set; `sources` says where each was set.
    """

    properties: Mapping[str, str]
    sources: Mapping[str, str]
    prefix: str = ""
    environment: str = ""
    topics_file: Path | None = None
    partitions: int | None = None
    store: str = "memory"
    store_dir: Path | None = None
    schemas: str | None = None
    framing: str = SINGLE_OBJECT
    registers_schemas: bool = True
    traces: bool = False
    """True if spans are made of what is sent, folded and run."""
    errors: ClientErrors = field(default_factory=ClientErrors, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        properties_file: Path | None,
        env: Mapping[str, str],
        overrides: Mapping[str, str | None],
        *,
        prefix: str | None = None,
        partitions: int | None = None,
        topics_file: Path | None = None,
        logs: bool = True,
        overrides_are: str = "a flag",
    ) -> "Settings":
        """Put file, variables and flags together and have librdkafka check them. Raises SettingsError.

        `overrides` are properties from flags, None for a flag that was not given. The next keyword arguments are flags
        for Halter's own settings; where one is not given, its variable counts. With `logs=False`, the clients that are
        made of these settings log nothing. `overrides_are` says in sentences where the overrides were set.
        """
        check_own_variables(env)
        if properties_file is None and env.get("HALTER_PROPERTIES"):
            properties_file = Path(env["HALTER_PROPERTIES"])
        found = {"bootstrap.servers": (DEFAULT_BOOTSTRAP, "the default")}
        if properties_file is not None:
            found |= dict(from_file(properties_file))
        found |= dict(from_variables(env))
        found |= {key: (value, overrides_are) for key, value in overrides.items() if value is not None}
        properties = {key: value for key, (value, _) in found.items()}
        sources = {key: source for key, (_, source) in found.items()}
        for_clients = {key: value for key, value in properties.items() if not key.startswith(REGISTRY_PREFIX)}
        check_properties(for_clients, sources)
        framing, registers = framing_settings(env, properties, sources)
        if topics_file is None and env.get("HALTER_TOPICS"):
            topics_file = Path(env["HALTER_TOPICS"])
        if partitions is None and env.get("HALTER_PARTITIONS"):
            partitions = whole_number("HALTER_PARTITIONS", env["HALTER_PARTITIONS"])
        store, store_dir = store_settings(env)
        return cls(
            properties=properties,
            sources=sources,
            prefix=env.get("HALTER_PREFIX", "") if prefix is None else prefix,
            environment=env.get("HALTER_ENVIRONMENT", ""),
            store=store,
            store_dir=store_dir,
            topics_file=topics_file,
            partitions=partitions,
            schemas=env.get("HALTER_SCHEMAS") or None,
            framing=framing,
            registers_schemas=registers,
            traces=traces(env),
            errors=ClientErrors(logs=logs),
        )

    @property
    def bootstrap(self) -> str:
        """The brokers to begin with, `host:port` with commas between."""
        return self.properties["bootstrap.servers"]

    def codec(self) -> Codec:
        """Return the codec of this installation. It reads both framings if a Schema Registry is set.

        Asks the registry nothing yet. Raises ExtraMissing and RegistrySettings.
        """
        if f"{REGISTRY_PREFIX}url" not in self.properties:
            return Codec.load(release=self.schemas)
        schemas = Schemas.load()
        wire = WireFormat(schemas, self.registry(registers=self.registers_schemas))
        framing = BothFramings(SingleObject(schemas), wire, writes_wire=self.framing == CONFLUENT)
        return Codec.load(schemas, framing, self.schemas)

    def registry(self, *, registers: bool) -> ConfluentRegistry:
        """Return the client of the Schema Registry. Raises ExtraMissing, RegistrySettings and SettingsError."""
        if f"{REGISTRY_PREFIX}url" not in self.properties:
            raise SettingsError("expected a Schema Registry, found none: set KAFKA_SCHEMA_REGISTRY_URL")
        own = {
            key.removeprefix(REGISTRY_PREFIX): value
            for key, value in self.properties.items()
            if key.startswith(REGISTRY_PREFIX)
        }
        return ConfluentRegistry(own, registers=registers)

    def tracing(self) -> "Tracing | None":
        """Return what makes spans; None if tracing is off, and then nothing of it is imported. Raises ExtraMissing."""
        if not self.traces:
            return None
        with needing("otlp", "HALTER_TRACING=true"):
            from processors.kafka.tracing import tracing_of_process
        return tracing_of_process()

    def topics(self) -> Topics:
        """Read topics.yaml for this installation: its file, prefix and N, and the release that runs beside it."""
        topics = load_topics(self.topics_file, self.prefix, self.partitions)
        return topics if self.schemas is None else topics.beside(self.schemas)

    def consumer(self, **more: Any) -> Conf:
        """Return the configuration of a Consumer; add `group_id` at least. See `producer` for `more`."""
        return self._client("consumer", ALWAYS_CONSUMER, more)

    def producer(self, **more: Any) -> Conf:
        """Return the configuration of a Producer.

        `more` is set by Halter, never by a user, and wins. Names have '_' for '.' (`linger_ms=0`); in a `**` mapping
        they may stand as they are.
        """
        return self._client("producer", ALWAYS_PRODUCER, more)

    def admin(self, **more: Any) -> Conf:
        """Return the configuration of an AdminClient. See `producer` for `more`."""
        return self._client("producer", ALWAYS, more)

    def _client(self, kind: ClientKind, always: Conf, more: Mapping[str, Any]) -> Conf:
        own = {
            key: value
            for key, value in self.properties.items()
            if not key.startswith(REGISTRY_PREFIX) and is_for(kind, key, value)
        }
        more = {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in more.items()}
        return {
            **COMMON,
            **own,
            **always,
            "error_cb": self.errors,
            "logger": ClientLog(self.errors),
            **more,
        }

    def reach(
        self, client: "AdminClient | Producer | Consumer", topic: str, seconds: float, deadline: float | None = None
    ) -> None:
        """Return as soon as Kafka answers a client. `topic` need not exist.

        `deadline` is when the seconds are over, by the monotonic clock. Default: they begin now.
        Raises KafkaSilent if it does not answer within these seconds, KafkaUnavailable as soon as it refuses us.
        """
        deadline = time.monotonic() + seconds if deadline is None else deadline
        look, next_look = FIRST_LOOK_SECONDS, LOOK_SECONDS
        while True:
            try:
                client.list_topics(topic, timeout=max(0.001, min(look, deadline - time.monotonic())))
                return
            except KafkaException as exception:
                client.poll(0)  # calls error_cb with the reasons
                if exception.args[0].code() not in SILENCE:
                    raise self.explain(exception, "asking for an answer") from exception
                latest = self.errors.latest
                if latest is not None and latest.code() in REFUSALS:
                    raise KafkaUnavailable(f"Kafka at {self._where}: {ClientErrors.sentence(latest)}") from exception
                if time.monotonic() >= deadline:
                    reason = UNEXPLAINED if latest is None else ClientErrors.sentence(latest)
                    raise KafkaSilent(
                        f"Kafka at {self._where} has not answered within {seconds:g} s: {reason}",
                        on_this_machine=all(map(_is_loopback, self.bootstrap.split(","))),
                    ) from exception
            look, next_look = next_look, 2 * next_look

    @property
    def _where(self) -> str:
        return f"{self.bootstrap} (from {self.sources['bootstrap.servers']})"

    @contextmanager
    def explaining(self, doing: str, client: "AdminClient | Producer | Consumer | None" = None) -> Iterator[None]:
        """Turn a KafkaException of the block into KafkaUnavailable, which says what was done, where, and why it failed.

        `client`, which the block uses, is polled for reasons that it has not reported yet.
        """
        try:
            yield
        except KafkaException as exception:
            if client is not None:
                client.poll(0)
            raise self.explain(exception, doing) from exception

    def explain(self, exception: KafkaException, doing: str) -> KafkaUnavailable:
        """Return the error that says what went wrong. Prefers a reason that librdkafka reported beside the call."""
        error = exception.args[0]
        reason = ClientErrors.sentence(error) if isinstance(error, KafkaError) else str(error)
        latest = self.errors.latest
        if latest is not None and isinstance(error, KafkaError) and error.code() in SILENCE:
            reason = ClientErrors.sentence(latest)
        return KafkaUnavailable(f"{doing} at {self._where} did not succeed: {reason}")

    def describe(self) -> dict[str, str]:
        """Return all settings with their sources, secrets redacted, for people and for logs."""
        own = {"prefix": self.prefix, "environment": self.environment}
        return {
            **{key: value for key, value in own.items() if value},
            **{
                key: f"{redacted(key, value)} (from {self.sources[key]})"
                for key, value in sorted(self.properties.items())
            },
        }

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{key}={value}' for key, value in self.describe().items())})"


def _is_loopback(broker: str) -> bool:
    """Return True if the host of a broker is this machine, by a name or address that every machine has."""
    host = broker.strip().rpartition("//")[2].rpartition(":")[0].strip("[]") or broker.strip()
    return host in {"localhost", "::1"} or host.startswith("127.")
