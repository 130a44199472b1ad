"""Reads librdkafka properties from a file and from variables, and knows which of them are secret.

Errors quote neither a line of the file nor the value of a variable: it may be a secret, or half of one.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from processors.codec.registry import without_credentials
from processors.kafka.errors import SettingsError

REDACTED: Final = "[redacted]"
REGISTRY_PREFIX: Final = "schema.registry."
"""Begins the properties that are for the client of a Schema Registry, which knows them without this prefix."""

OTHERS_VARIABLES: Final = re.compile(
    # Apache Kafka's own scripts, and the links that Kubernetes gives every pod beside a service named kafka.
    r"KAFKA_(.*_)?(OPTS|HOME|VERSION|DEBUG|CLASSPATH|SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?|TCP(_.*)?)"
)

SECRET: Final = re.compile(r"password|passphrase|secret|token|jaas|user\.info|\.pem$|oauthbearer\.config")
NOT_SECRET: Final = re.compile(r"token\.endpoint")


def from_file(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Read `key=value` lines. Empty lines and lines that begin with # are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read properties from {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            # The line is not quoted: it may be half a secret.
            raise SettingsError(f"{path}:{number}: expected `property=value`, found a line without it")
        yield key.strip(), (value.strip(), f"{path}:{number}")


def from_variables(env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Read KAFKA_* variables, except those that are known to belong to other programs."""
    for name, value in sorted(env.items()):
        if name.startswith("KAFKA_") and not OTHERS_VARIABLES.fullmatch(name):
            yield name.removeprefix("KAFKA_").lower().replace("_", "."), (value, f"the variable {name}")


def redacted(key: str, value: str) -> str:
    """Return the value as it may be printed: REDACTED in place of a secret."""
    if key == f"{REGISTRY_PREFIX}url":
        return without_credentials(value)
    return REDACTED if SECRET.search(key) and not NOT_SECRET.search(key) else value
