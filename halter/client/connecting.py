"""Makes Settings of what the callers of a client give: an address, a file, properties. Contacts nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict, Unpack

from halter.client.errors import InvalidArgument
from processors.kafka.settings import Settings

CONNECT_SECONDS: Final = 2.5
"""How long a client waits for the first answer of Kafka: its caller hears within three seconds that none comes."""


class Connection(TypedDict, total=False):
    """What a client may be told about its Kafka besides the address. docs/settings.md explains each."""

    properties_file: str | Path | None
    """A file of librdkafka properties, `key=value` lines."""
    properties: Mapping[str, str] | None
    """Further librdkafka properties. They override the file."""
    prefix: str | None
    """Begins the names of topics and groups."""
    partitions: int | None
    """N, if the cluster was set up with another one than topics.yaml's."""
    topics_file: str | Path | None
    """A topics.yaml to use instead of the one that Halter carries."""


def settings_of(bootstrap: str | None, env: Mapping[str, str], **connection: Unpack[Connection]) -> Settings:
    """Return the Settings that an address, variables and a connection say. Raises InvalidArgument and SettingsError.

    The address counts before properties, properties before variables, variables before the file.
    """
    if isinstance(bootstrap, Settings):
        raise InvalidArgument("bootstrap: expected host:port, found Settings: Client.of(settings) takes those")
    _expect("bootstrap", bootstrap, str, "the address of Kafka, such as 'localhost:9092'")
    if unknown := sorted(connection.keys() - Connection.__annotations__.keys()):
        raise InvalidArgument(f"expected some of {', '.join(Connection.__annotations__)}, found {', '.join(unknown)}")
    properties_file, topics_file = connection.get("properties_file"), connection.get("topics_file")
    for name, path in (("properties_file", properties_file), ("topics_file", topics_file)):
        _expect(name, path, str | Path, "the path of a file")
    properties, partitions = connection.get("properties"), connection.get("partitions")
    _expect("properties", properties, Mapping, "librdkafka properties by their names")
    for key, value in (properties or {}).items():
        _expect("properties", key, str, "names of properties as text")
        _expect(f"properties[{key!r}]", value, str, "a value as text")
    _expect("prefix", connection.get("prefix"), str, "text")
    _expect("partitions", partitions, int, "a whole number of at least 1")
    if partitions is not None and (isinstance(partitions, bool) or partitions < 1):
        raise InvalidArgument(f"partitions: expected a whole number of at least 1, found {partitions}")
    own = {} if bootstrap is None else {"bootstrap.servers": bootstrap}
    return Settings.load(
        None if properties_file is None else Path(properties_file),
        env,
        {**(properties or {}), **own},
        prefix=connection.get("prefix"),
        partitions=partitions,
        topics_file=None if topics_file is None else Path(topics_file),
        overrides_are="the program",
    )


def _expect(name: str, found: object, kind: object, what: str) -> None:
    if found is not None and not isinstance(found, kind):  # type: ignore[arg-type]  # a class or a union
        raise InvalidArgument(f"{name}: expected {what}, found {type(found).__name__}")
