"""Halter's own environment variables, HALTER_*: their names, and the values that each may have."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from processors.codec.registry import without_credentials
from processors.kafka.errors import SettingsError
from processors.kafka.properties import REGISTRY_PREFIX


class Variable(NamedTuple):
    """One of Halter's variables, as docs/settings.md shows it."""

    meaning: str
    default: str
    """What counts if it is not set, in words."""
    read_by: str
    """The programs that read it."""


ALL: Final = "clients, task workers, workers, commands"
"""Whoever loads `Settings`."""

VARIABLES: Final[Mapping[str, Variable]] = {
    "HALTER_PROPERTIES": Variable("a file of librdkafka properties", "no file", ALL),
    "HALTER_PREFIX": Variable("put before the names of topics, groups and transactional ids", "no prefix", ALL),
    "HALTER_PARTITIONS": Variable(
        "N, if the cluster was set up with another one than topics.yaml's", "that of topics.yaml", ALL
    ),
    "HALTER_TOPICS": Variable("a topics.yaml to use instead of the one that Halter carries", "Halter's own", ALL),
    "HALTER_ENVIRONMENT": Variable(
        "a name for this installation, shown where it matters which one it is", "no name", "workers, `halter topics`"
    ),
    "HALTER_FRAMING": Variable(
        "how records are written: `single-object`, or `confluent` for readers with a Schema Registry",
        "`single-object`",
        ALL,
    ),
    "HALTER_REGISTER_SCHEMAS": Variable(
        "`false`: schemas are in the Schema Registry already, by `halter schemas register`", "`true`", ALL
    ),
    "HALTER_SCHEMAS": Variable(
        "a released version whose schemas are written, while workers of that version run beside newer ones",
        "the schemas of this version",
        ALL,
    ),
    "HALTER_STORE": Variable(
        "where workers keep state: `memory`, or `rocksdb` for state beyond memory", "`memory`", "workers"
    ),
    "HALTER_STORE_DIR": Variable(
        "the folder of the store `rocksdb`; each worker makes its own below it, by its slot",
        "none: `rocksdb` needs one",
        "workers",
    ),
    "HALTER_VIEW": Variable(
        "where the view is: a file, or the URL of a PostgreSQL",
        "`halter-view.db` in the folder of your data",
        "`halter view`, and what reads it",
    ),
    "HALTER_HEALTH_PORT": Variable(
        "where workers answer probes, unless `--health-port` says it",
        "no probes are answered",
        "workers, `halter task-worker`",
    ),
    "HALTER_HEALTH_HOST": Variable(
        "at which address workers answer probes, unless `--health-host` says it",
        "127.0.0.1",
        "workers, `halter task-worker`",
    ),
    "HALTER_TRACING": Variable(
        "`true`: spans of what is sent, folded and run go to the receiver that `OTEL_*` variables name "
        "([tracing](tracing.md))",
        "`false`",
        ALL,
    ),
    "HALTER_CACHE": Variable(
        "the folder for the downloaded Kafka",
        "`halter` in `XDG_CACHE_HOME`, else in `~/.cache`",
        "`halter broker`, `halter demo`",
    ),
    "HALTER_MAVEN_REPOSITORY": Variable(
        "the Maven repository from which Kafka is downloaded",
        "a mirror in `~/.m2/settings.xml`, else Maven Central",
        "`halter broker`, `halter demo`",
    ),
    "HALTER_BOOTSTRAP": Variable(
        "a Kafka for tests, `host:port`, in place of an embedded one ([testing](testing.md))",
        "the embedded one",
        "the fixture `halter_kafka`",
    ),
    "HALTER_TRACEBACK": Variable("`1`: an unexpected error of a command shows where it was raised", "off", "commands"),
    "HALTER_CORE": Variable(
        "what a wheel gets: `compiled`, `python`, or nothing for compiled where a C compiler works",
        "nothing",
        "the build of a wheel",
    ),
    "HALTER_CRASH_AT": Variable("for tests: the point at which a worker kills itself", "never", "workers"),
}
"""All variables that Halter reads. docs/settings_table.py makes docs/settings.md of them."""

STORES: Final = ("memory", "rocksdb")
SINGLE_OBJECT, CONFLUENT = "single-object", "confluent"
FRAMINGS: Final = (SINGLE_OBJECT, CONFLUENT)
WITHOUT_REGISTRY: Final = frozenset({"0.1.0"})
"""Releases whose workers read single-object encoding only."""


def whole_number(name: str, text: str) -> int:
    """Read a HALTER_* variable that holds a count of at least 1."""
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
    """Read HALTER_FRAMING and HALTER_REGISTER_SCHEMAS, and check that the registry they need is set."""
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


def traces(env: Mapping[str, str]) -> bool:
    """Read HALTER_TRACING."""
    found = env.get("HALTER_TRACING") or "false"
    if found not in ("true", "false"):
        raise SettingsError(f"the variable HALTER_TRACING: expected true or false, found '{found}'")
    return found == "true"


def check_own_variables(env: Mapping[str, str]) -> None:
    """Refuse a HALTER_* variable that looks like a misspelt one. To ignore it would be worse."""
    for name in sorted(env):
        if name.startswith("HALTER_") and name not in VARIABLES:
            close = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85)
            if close:
                raise SettingsError(f"the variable {name} is not known; did you mean {close[0]}?")
