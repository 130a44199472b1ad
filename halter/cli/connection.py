"""The options that tell a command where Kafka is, and how they become Settings.

A command takes the options and loads its Settings from them:

    def show(bootstrap: Bootstrap = None, properties_file: PropertiesFile = None, ...) -> None:
        settings = load_settings(bootstrap, properties_file, properties, prefix)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.ending import ends_at_once
from halter.cli.usage import UsageMistake
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from processors.kafka.settings import Settings

PANEL = "Where Kafka is"

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "-b",
        metavar="HOST:PORT",
        help="Kafka brokers. Default: KAFKA_BOOTSTRAP_SERVERS, else localhost:9092.",
        rich_help_panel=PANEL,
    ),
]
PropertiesFile = Annotated[
    Path | None,
    typer.Option(
        "--properties",
        "-F",
        metavar="FILE",
        help="File of librdkafka properties, as for kcat -F. Default: HALTER_PROPERTIES. KAFKA_* variables override "
        "it.",
        rich_help_panel=PANEL,
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        "-X",
        metavar="KEY=VALUE",
        help="A librdkafka property. Overrides all others. May be repeated.",
        rich_help_panel=PANEL,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        help="Prefix for the names of topics, groups and transactional ids. Default: HALTER_PREFIX.",
        rich_help_panel=PANEL,
    ),
]
CONNECT_SECONDS: Final = 3.0
ConnectTimeout = Annotated[
    float,
    typer.Option(
        "--connect-timeout",
        metavar="SECONDS",
        min=0.1,
        help="How long to wait until Kafka answers.",
        rich_help_panel=PANEL,
    ),
]
TopicsFile = Annotated[
    Path | None,
    typer.Option(
        "--topics-file",
        metavar="FILE",
        help="Your own topics.yaml. Default: HALTER_TOPICS.",
        rich_help_panel=PANEL,
    ),
]
Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions",
        min=1,
        help="Number of partitions of the co-partitioned topics. Default: HALTER_PARTITIONS, else topics.yaml.",
        rich_help_panel=PANEL,
    ),
]


def load_settings(
    bootstrap: str | None = None,
    properties_file: Path | None = None,
    properties: list[str] | None = None,
    prefix: str | None = None,
    *,
    partitions: int | None = None,
    topics_file: Path | None = None,
    logs: bool = False,
) -> "Settings":
    """Return the settings for a command. Its options override variables, which override the properties file.

    stdout is for results, and a command reports errors of Kafka in the sentence it ends with. So its Kafka clients log
    nothing, unless it has a log (`logs`).
    """
    from processors.kafka.settings import Settings

    overrides: dict[str, str | None] = {}
    for item in properties or ():
        key, equals, value = item.partition("=")
        if not equals:
            raise BadProperty(f"--property: expected KEY=VALUE, found no '=' in '{key}'")
        overrides[key.strip()] = value.strip()
    if bootstrap is not None:
        overrides["bootstrap.servers"] = bootstrap
    return Settings.load(
        properties_file,
        os.environ,
        overrides,
        prefix=prefix,
        partitions=partitions,
        topics_file=topics_file,
        logs=logs,
    )


@contextmanager
def patience() -> Iterator[None]:
    """Turn KafkaSilent into a KafkaNotThere that says what to do. Ctrl-C ends the process meanwhile."""
    from processors.kafka.errors import KafkaSilent

    with ends_at_once():
        try:
            yield
        except KafkaSilent as silent:
            raise KafkaNotThere(
                f"{silent}; start it (`halter broker`), name another with --bootstrap, or wait longer with "
                "--connect-timeout SECONDS"
            ) from silent


def reach(settings: "Settings", seconds: float) -> None:
    """Return when Kafka answers. Raises KafkaNotThere, or KafkaUnavailable if Kafka refuses the connection."""
    from confluent_kafka.admin import AdminClient

    with patience():
        settings.reach(AdminClient(settings.admin()), settings.topics().wf_events, seconds)


class KafkaNotThere(HalterError):
    """Kafka does not answer at its address, or not yet. Whoever starts Kafka, or gave the address, acts."""


class BadProperty(UsageMistake):
    """A --property does not have the form KEY=VALUE. Whoever typed it corrects it."""
