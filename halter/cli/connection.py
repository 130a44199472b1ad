"""The options by which every command finds Kafka, the way from them to Settings, and the first contact.

def show(bootstrap: Bootstrap = None, properties_file: PropertiesFile = None, ...) -> None:
    settings = load_settings(bootstrap, properties_file, properties, prefix)
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.ending import ends_at_once
from halter.cli.usage import UsageMistake
from processors.errors import HalterError

if TYPE_CHECKING:
    from processors.settings import Settings

PANEL = "Where Kafka is"

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        "-b",
        metavar="HOST:PORT",
        help="Brokers to begin with; else KAFKA_BOOTSTRAP_SERVERS, else localhost:9092.",
        rich_help_panel=PANEL,
    ),
]
PropertiesFile = Annotated[
    Path | None,
    typer.Option(
        "--properties",
        "-F",
        metavar="FILE",
        help="librdkafka properties, as for kcat -F; else HALTER_PROPERTIES. KAFKA_* variables override it.",
        rich_help_panel=PANEL,
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        "-X",
        metavar="KEY=VALUE",
        help="A librdkafka property; may be given more than once, overrides all else.",
        rich_help_panel=PANEL,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        help="Put before the names of topics, group and transactional ids; else HALTER_PREFIX.",
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
        help="How long Kafka may take to answer at all.",
        rich_help_panel=PANEL,
    ),
]
TopicsFile = Annotated[
    Path | None,
    typer.Option(
        "--topics-file",
        metavar="FILE",
        help="A topics.yaml of your own; else HALTER_TOPICS.",
        rich_help_panel=PANEL,
    ),
]
Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions",
        min=1,
        help="N, the partitions of co-partitioned topics; else HALTER_PARTITIONS, else topics.yaml.",
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
) -> "Settings":
    """Return the settings for a command: its options over variables over the properties file."""
    import structlog

    from processors.settings import Settings

    if not structlog.is_configured():
        # stdout is for results. What a command has to say about Kafka is in the sentence it ends with.
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(50),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
    overrides: dict[str, str | None] = {}
    for item in properties or ():
        key, equals, value = item.partition("=")
        if not equals:
            raise BadProperty(f"--property: expected KEY=VALUE, found no '=' after '{key}'")
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
    )


@contextmanager
def patience() -> Iterator[None]:
    """Say of a Kafka that has not answered how to wait for it longer; Ctrl-C ends the process meanwhile."""
    from processors.settings import KafkaSilent

    with ends_at_once():
        try:
            yield
        except KafkaSilent as silent:
            raise KafkaNotThere(f"{silent} (--connect-timeout SECONDS waits longer)") from silent


def reach(settings: "Settings", seconds: float) -> None:
    """Return once Kafka answers. Raises KafkaNotThere, or KafkaUnavailable if it refuses us."""
    from confluent_kafka.admin import AdminClient

    with patience():
        settings.reach(AdminClient(settings.admin()), settings.topics().wf_events, seconds)


class KafkaNotThere(HalterError):
    """Kafka is not where it was looked for, or not yet. Whoever starts it, or named the place, acts."""


class BadProperty(UsageMistake):
    """A --property is not of the form KEY=VALUE. Whoever typed it corrects it."""
