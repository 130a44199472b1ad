"""Halter's own environment variables, HALTER_*: their names, and the values that each may have."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from processors.codec.registry import without_credentials
from processors.kafka.errors import SettingsError
from processors.kafka.properties import REGISTRY_PREFIX

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


def check_own_variables(env: Mapping[str, str]) -> None:
    """Refuse a HALTER_* variable that looks like a misspelt one. To ignore it would be worse."""
    for name in sorted(env):
        if name.startswith("HALTER_") and name not in VARIABLES:
            close = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85)
            if close:
                raise SettingsError(f"the variable {name} is not known; did you mean {close[0]}?")
