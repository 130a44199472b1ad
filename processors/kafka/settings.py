"""Where Kafka is and how to speak to it: one place for every client of the engine and of the tools.

Properties are librdkafka's. They come from a properties file (`key=value` lines, as kcat's `-F` reads), are
overridden by variables (`KAFKA_BOOTSTRAP_SERVERS` is `bootstrap.servers`), and those by flags. What the
engine's guarantees rest on (acks, idempotence, the partitioner, read_committed, commits) is set here for
everybody, and a user's setting that says otherwise is refused with the reason, not overruled in silence.

`schema.registry.*` among them are for the client of a Schema Registry: without the prefix, they are its own.

Our own settings are variables as well (VARIABLES). Nothing here prints a secret: `repr` and `describe` redact
them, and what a line or a variable holds is not quoted in errors unless it is harmless.
"""

import difflib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processors.codec import Codec, Schemas
from processors.codec.framing import BothFramings, SingleObject
from processors.codec.registry import ConfluentRegistry, WireFormat, without_credentials
from processors.core.records.errors import HalterError
from processors.kafka.topics import Topics

DEFAULT_BOOTSTRAP: Final = "localhost:9092"
REDACTED: Final = "[redacted]"
REFUSALS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
"""Answers that waiting does not change."""
SILENCE: Final = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
"""What a call ends with that got no answer; the reason, if there is one, is reported beside it."""
UNEXPLAINED: Final = "nothing came back; does Kafka listen there, and is security.protocol the one of that port?"
LOOK_SECONDS: Final = 3.0
"""So long a first answer may take before it is asked whether it was a refusal; longer each time, for slow networks."""

REPEAT_SECONDS: Final = 60.0
"""librdkafka reports a broker that is away again and again; the log has it once in this time."""

VARIABLES: Final[Mapping[str, str]] = {
    "HALTER_PREFIX": "put before the names of topics, group and transactional ids",
    "HALTER_ENVIRONMENT": "a name for this installation, shown where it matters which one it is",
    "HALTER_TOPICS": "a topics.yaml to use instead of the one that Halter carries",
    "HALTER_PARTITIONS": "N, if the cluster was set up with another one than topics.yaml's",
    "HALTER_PROPERTIES": "a file of librdkafka properties",
    "HALTER_STORE": "where workers keep state: memory (the default), or rocksdb for state beyond memory",
    "HALTER_STORE_DIR": "the folder of the store rocksdb; each worker makes its own below it, by its slot",
    "HALTER_HEALTH_PORT": "where workers answer probes, unless --health-port says it",
    "HALTER_HEALTH_HOST": "at which address they answer them, unless --health-host says it; 127.0.0.1 if nobody does",
    "HALTER_FRAMING": "how records are written: single-object (the default), or confluent, for readers with a registry",
    "HALTER_REGISTER_SCHEMAS": "false: schemas are in the Schema Registry already, by `halter schemas register`",
    "HALTER_SCHEMAS": "a released version whose schemas workers write, while workers of that version run beside them",
}

STORES: Final = ("memory", "rocksdb")
SINGLE_OBJECT, CONFLUENT = "single-object", "confluent"
FRAMINGS: Final = (SINGLE_OBJECT, CONFLUENT)
WITHOUT_REGISTRY: Final = frozenset({"0.1.0"})
"""Releases whose workers read single-object encoding alone."""
REGISTRY_PREFIX: Final = "schema.registry."

OTHERS_VARIABLES: Final = re.compile(
    # Apache Kafka's own scripts, and the links that Kubernetes gives every pod beside a service named kafka.
    r"KAFKA_(.*_)?(OPTS|HOME|VERSION|DEBUG|CLASSPATH|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?|TCP(_.*)?)"
)

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

SECRET: Final = re.compile(r"password|passphrase|secret|token|jaas|user\.info|\.pem$|oauthbearer\.config")
NOT_SECRET: Final = re.compile(r"token\.endpoint")

Kind = Literal["consumer", "producer"]
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


class SettingsError(HalterError):
    """A property, variable or flag cannot be used. Whoever set it, where the message says, corrects it."""


class KafkaUnavailable(HalterError):
    """The cluster is out of reach, refuses us or does not answer. Whoever runs Kafka or set the address acts."""


class KafkaSilent(KafkaUnavailable):
    """Nothing that speaks Kafka has answered in time. It may yet: whoever has patience asks again."""


class ClientErrors:
    """Hears what librdkafka reports beside its calls, which otherwise shows only as a time-out.

    Logs each kind of error once a minute at most and keeps the latest that explains something, for
    `Settings.explaining`. Called from whichever thread polls a client.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.latest: KafkaError | None = None
        self._clock = clock
        self._logged: dict[int, float] = {}
        self._log = structlog.get_logger("halter.kafka")

    def __call__(self, error: KafkaError) -> None:
        """Be a client's `error_cb`."""
        code, now = error.code(), self._clock()
        # That all brokers are down follows from the reason that came before it, which says more.
        if self.latest is None or code != KafkaError._ALL_BROKERS_DOWN:
            self.latest = error
        if now - self._logged.get(code, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._logged[code] = now
        self._log.error("kafka_client_error", error=error.name(), reason=self.sentence(error), fatal=error.fatal())

    @staticmethod
    def sentence(error: KafkaError) -> str:
        """Say what happened and what to look at."""
        detail = error.str()
        match error.code():
            case KafkaError._AUTHENTICATION | KafkaError.SASL_AUTHENTICATION_FAILED:
                return f"Kafka refused the credentials ({detail}): check sasl.*"
            case KafkaError._SSL:
                return f"TLS failed ({detail}): check security.protocol and ssl.*"
            case KafkaError._RESOLVE:
                return f"the host is not known ({detail})"
            case KafkaError._BAD_MSG:
                return f"what listens there does not speak Kafka's protocol, or security.protocol is another ({detail})"
            case KafkaError._ALL_BROKERS_DOWN:
                return f"no broker can be reached ({detail})"
            case KafkaError.TOPIC_AUTHORIZATION_FAILED | KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                return f"this principal may not do that ({detail}): see `halter topics acls`"
            case KafkaError.GROUP_AUTHORIZATION_FAILED | KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
                return f"this principal may not use that id ({detail}): see `halter topics acls`"
            case _:
                return detail


class ClientLog:
    """Takes what librdkafka would write to stderr, in its own form, into our log.

    Without what goes to `error_cb` as well: a broker that is away would fill the log.
    """

    def __init__(self) -> None:
        self._log = structlog.get_logger("librdkafka")

    def log(self, level: int, message: str, facility: str, *arguments: object) -> None:
        """Be a client's `logger`."""
        if facility not in {"FAIL", "ERROR"}:
            self._log.log(level, message % (facility, *arguments))


@dataclass(frozen=True)
class Settings:
    """Properties for all clients, and our own settings.

    `properties` holds what the user set; `sources` says of each where it was set.
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
    ) -> "Settings":
        """Put file, variables and flags together and let librdkafka check them. Raises SettingsError.

        `overrides` are properties from flags, None for a flag that was not given. The keyword arguments are
        flags for our own settings; without one its variable counts.
        """
        check_own_variables(env)
        if properties_file is None and env.get("HALTER_PROPERTIES"):
            properties_file = Path(env["HALTER_PROPERTIES"])
        found = {"bootstrap.servers": (DEFAULT_BOOTSTRAP, "the default")}
        if properties_file is not None:
            found |= dict(from_file(properties_file))
        found |= dict(from_variables(env))
        found |= {key: (value, "a flag") for key, value in overrides.items() if value is not None}
        properties = {key: value for key, (value, _) in found.items()}
        sources = {key: source for key, (_, source) in found.items()}
        check({key: value for key, value in properties.items() if not key.startswith(REGISTRY_PREFIX)}, sources)
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
        )

    @property
    def bootstrap(self) -> str:
        """The brokers to begin with, `host:port` with commas between."""
        return self.properties["bootstrap.servers"]

    def codec(self) -> Codec:
        """Return what writes and reads records here. Where a Schema Registry is set it reads both framings.

        Raises RegistryNotInstalled and RegistrySettings; nothing is asked yet.
        """
        schemas, framing = Schemas.load(), None
        if f"{REGISTRY_PREFIX}url" in self.properties:
            wire = WireFormat(schemas, self.registry(registers=self.registers_schemas))
            framing = BothFramings(SingleObject(schemas), wire, writes_wire=self.framing == CONFLUENT)
        return Codec.load(schemas, framing, self.schemas)

    def registry(self, *, registers: bool) -> ConfluentRegistry:
        """Return the client of the Schema Registry. Raises RegistryNotInstalled, RegistrySettings and SettingsError."""
        if f"{REGISTRY_PREFIX}url" not in self.properties:
            raise SettingsError("expected a Schema Registry, found none: set KAFKA_SCHEMA_REGISTRY_URL")
        own = {
            key.removeprefix(REGISTRY_PREFIX): value
            for key, value in self.properties.items()
            if key.startswith(REGISTRY_PREFIX)
        }
        return ConfluentRegistry(own, registers=registers)

    def topics(self) -> Topics:
        """Read topics.yaml for this installation: its file, prefix and N, and the release that runs beside it."""
        topics = Topics.load(self.topics_file, self.prefix, self.partitions)
        return topics if self.schemas is None else topics.beside(self.schemas)

    def consumer(self, **more: Any) -> Conf:
        """Return the configuration of a Consumer; add `group_id` at least. See `producer` for `more`."""
        return self._client("consumer", ALWAYS_CONSUMER, more)

    def producer(self, **more: Any) -> Conf:
        """Return the configuration of a Producer.

        `more` is ours, never a user's, and wins: names with '_' for '.', so `linger_ms=0`, or with a `**`
        mapping as they are.
        """
        return self._client("producer", ALWAYS_PRODUCER, more)

    def admin(self, **more: Any) -> Conf:
        """Return the configuration of an AdminClient. See `producer` for `more`."""
        return self._client("producer", ALWAYS, more)

    def _client(self, kind: Kind, always: Conf, more: Mapping[str, Any]) -> Conf:
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
            "logger": ClientLog(),
            **more,
        }

    def reach(self, client: AdminClient | Producer | Consumer, topic: str, seconds: float) -> None:
        """Return once Kafka answers a client for the first time. `topic` need not exist.

        Raises KafkaSilent if it has not within these seconds, KafkaUnavailable as soon as it has refused us.
        """
        deadline = time.monotonic() + seconds
        look = LOOK_SECONDS
        while True:
            try:
                client.list_topics(topic, timeout=max(0.001, min(look, deadline - time.monotonic())))
                return
            except KafkaException as exception:
                client.poll(0)  # tells the reasons
                if exception.args[0].code() not in SILENCE:
                    raise self.explain(exception, "asking for an answer") from exception
                latest = self.errors.latest
                if latest is not None and latest.code() in REFUSALS:
                    raise KafkaUnavailable(f"Kafka at {self._where}: {ClientErrors.sentence(latest)}") from exception
                if time.monotonic() >= deadline:
                    reason = UNEXPLAINED if latest is None else ClientErrors.sentence(latest)
                    raise KafkaSilent(
                        f"Kafka at {self._where} has not answered within {seconds:g} s: {reason}"
                    ) from exception
            look *= 2

    @property
    def _where(self) -> str:
        return f"{self.bootstrap} (from {self.sources['bootstrap.servers']})"

    @contextmanager
    def explaining(self, doing: str, client: AdminClient | Producer | Consumer | None = None) -> Iterator[None]:
        """Turn a KafkaException of the block into KafkaUnavailable: what we did, where, and why it failed.

        The client that the block uses, if given, is asked for the reasons that it has not told yet.
        """
        try:
            yield
        except KafkaException as exception:
            if client is not None:
                client.poll(0)
            raise self.explain(exception, doing) from exception

    def explain(self, exception: KafkaException, doing: str) -> KafkaUnavailable:
        """Return the error that says what went wrong; a reason that librdkafka reported by itself goes first."""
        error = exception.args[0]
        reason = ClientErrors.sentence(error) if isinstance(error, KafkaError) else str(error)
        latest = self.errors.latest
        if latest is not None and isinstance(error, KafkaError) and error.code() in SILENCE:
            reason = ClientErrors.sentence(latest)
        return KafkaUnavailable(f"{doing} at {self._where} did not succeed: {reason}")

    def describe(self) -> dict[str, str]:
        """Return what is set, secrets redacted, each with its source: for people and for logs."""
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


def redacted(key: str, value: str) -> str:
    """Return the value, or a word in its place if the property is a secret."""
    if key == f"{REGISTRY_PREFIX}url":
        return without_credentials(value)
    return REDACTED if SECRET.search(key) and not NOT_SECRET.search(key) else value


def from_file(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Read `key=value` lines; empty lines and those that begin with # say nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read properties from {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            # The line itself stays unprinted: it may be half a secret.
            raise SettingsError(f"{path}:{number}: expected `property=value`, found a line without it")
        yield key.strip(), (value.strip(), f"{path}:{number}")


def from_variables(env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Read KAFKA_* variables, except those that are known to be for others."""
    for name, value in sorted(env.items()):
        if name.startswith("KAFKA_") and not OTHERS_VARIABLES.fullmatch(name):
            yield name.removeprefix("KAFKA_").lower().replace("_", "."), (value, f"the variable {name}")


def whole_number(name: str, text: str) -> int:
    """Read a variable of ours that counts something, from 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise SettingsError(f"the variable {name}: expected a whole number of at least 1, found '{text}'")
    return int(text)


def store_settings(env: Mapping[str, str]) -> tuple[str, Path | None]:
    """Read HALTER_STORE and HALTER_STORE_DIR."""
    store, folder = env.get("HALTER_STORE") or "memory", env.get("HALTER_STORE_DIR")
    if store not in STORES:
        raise SettingsError(f"the variable HALTER_STORE: expected one of {', '.join(STORES)}, found '{store}'")
    if store == "rocksdb" and not folder:
        raise SettingsError("the variable HALTER_STORE_DIR: expected a folder, because HALTER_STORE is rocksdb")
    return store, Path(folder) if folder else None


def framing_settings(
    env: Mapping[str, str], properties: Mapping[str, str], sources: Mapping[str, str]
) -> tuple[str, bool]:
    """Read HALTER_FRAMING and HALTER_REGISTER_SCHEMAS, and look whether there is a registry for them."""
    url = f"{REGISTRY_PREFIX}url"
    for key in properties:
        if key.startswith(REGISTRY_PREFIX) and url not in properties:
            raise SettingsError(f"{key} from {sources[key]}: expected {url} as well, found none")
    for one in properties[url].split(",") if url in properties else ():
        if not re.match(r"https?://[^/]", one.strip()):
            shown = without_credentials(properties[url])
            raise SettingsError(f"{url} from {sources[url]}: expected http:// or https:// and a host, found '{shown}'")
    framing = env.get("HALTER_FRAMING") or SINGLE_OBJECT
    if framing not in FRAMINGS:
        expected = ", ".join(FRAMINGS)
        raise SettingsError(f"the variable HALTER_FRAMING: expected one of {expected}, found '{framing}'")
    if framing == CONFLUENT and url not in properties:
        raise SettingsError(
            f"the variable HALTER_FRAMING: expected a Schema Registry for 'confluent' ({url}, "
            "KAFKA_SCHEMA_REGISTRY_URL), found none"
        )
    release = env.get("HALTER_SCHEMAS")
    if framing == CONFLUENT and release in WITHOUT_REGISTRY:
        raise SettingsError(
            f"the variable HALTER_FRAMING: workers of {release} (HALTER_SCHEMAS) cannot read 'confluent'; end the "
            "upgrade first"
        )
    registers = env.get("HALTER_REGISTER_SCHEMAS") or "true"
    if registers not in ("true", "false"):
        raise SettingsError(f"the variable HALTER_REGISTER_SCHEMAS: expected true or false, found '{registers}'")
    return framing, registers == "true"


def check_own_variables(env: Mapping[str, str]) -> None:
    """Refuse a HALTER_* variable that looks like one of ours misspelt: ignoring it would be worse."""
    for name in sorted(env):
        if name.startswith("HALTER_") and name not in VARIABLES:
            close = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85)
            if close:
                raise SettingsError(f"the variable {name} is not known; did you mean {close[0]}?")


def check(properties: Mapping[str, str], sources: Mapping[str, str]) -> None:
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
def is_for(kind: Kind, key: str, value: str) -> bool:
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
