"""The options that tell a command where Kafka is, and how they become Settings.

They are a group (`halter.cli.option_groups`), for which a command has one parameter:

    @asks_kafka
    def show(wf_run_id: WfRunId, *, kafka: Kafka) -> None:
        with connected(kafka) as client: ...
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.ending import ends_at_once
from halter.cli.given import seconds
from halter.cli.option_groups import OptionGroup, with_groups
from halter.cli.printing import note
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
CONNECT_SECONDS: Final = 2.5
"""With the start and the end of the process a command that finds no Kafka says so within three seconds."""
TOLD_AFTER_SECONDS: Final = 1.0
"""The time after which a command says that it waits, if it may wait longer than CONNECT_SECONDS."""
ConnectTimeout = Annotated[
    float,
    typer.Option(
        "--connect-timeout",
        metavar="SECONDS",
        min=0.1,
        help="How long to wait until Kafka answers.",
        callback=seconds,
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class Cluster(OptionGroup):
    """The cluster and the installation on it that the options of a command name."""

    bootstrap: Bootstrap = None
    properties_file: PropertiesFile = None
    properties: Properties = None
    prefix: Prefix = None

    @property
    def is_named(self) -> bool:
        """Return True if an option says where Kafka is."""
        return bool(self.bootstrap or self.properties_file or self.properties)

    @property
    def arguments(self) -> list[str]:
        """The options as they are typed, for another command."""
        files = [] if self.properties_file is None else ["--properties", str(self.properties_file)]
        where = [] if self.bootstrap is None else ["--bootstrap", self.bootstrap]
        prefix = [] if self.prefix is None else ["--prefix", self.prefix]
        return [*where, *files, *(word for it in self.properties or () for word in ("--property", it)), *prefix]


@dataclass(frozen=True)
class Kafka(Cluster):
    """The same, and how long to wait until Kafka answers."""

    connect_timeout: ConnectTimeout = CONNECT_SECONDS


def asks_kafka(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its Cluster or Kafka, and of all other groups that it has."""
    return with_groups(command)


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
    cluster: Cluster,
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
    for item in cluster.properties or ():
        key, equals, value = item.partition("=")
        if not equals:
            raise BadProperty(f"--property: expected KEY=VALUE, found no '=' in '{key}'")
        overrides[key.strip()] = value.strip()
    if cluster.bootstrap is not None:
        overrides["bootstrap.servers"] = cluster.bootstrap
    return Settings.load(
        cluster.properties_file,
        os.environ,
        overrides,
        prefix=cluster.prefix,
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
                f"{silent}; {silent.start}, name another with --bootstrap, or wait longer with "
                "--connect-timeout SECONDS"
            ) from silent


@contextmanager
def waiting_for_kafka(settings: "Settings", seconds: float) -> Iterator[None]:
    """Say on stderr that the block waits for the first answer of Kafka, if it may take longer than usual.

    Kafka clients log nothing meanwhile: the command ends with a sentence that says the same, or it goes on.
    """
    from threading import Timer

    sentence = f"waiting for Kafka at {settings.bootstrap}, for {seconds:g} s at most"
    timer = Timer(TOLD_AFTER_SECONDS, note, [sentence])
    timer.daemon = True
    if seconds > CONNECT_SECONDS:
        timer.start()
    logs, settings.errors.logs = settings.errors.logs, False
    try:
        yield
        settings.errors.logs = logs  # not when the command fails: its clients speak once more while they are closed
    finally:
        timer.cancel()


def reach(settings: "Settings", seconds: float) -> None:
    """Return when Kafka answers. Raises KafkaNotThere, or KafkaUnavailable if Kafka refuses the connection."""
    from confluent_kafka.admin import AdminClient

    with patience(), waiting_for_kafka(settings, seconds):
        settings.reach(AdminClient(settings.admin()), settings.topics().wf_events, seconds)


class KafkaNotThere(HalterError):
    """Kafka does not answer at its address, or not yet. Whoever starts Kafka, or gave the address, acts."""


class BadProperty(UsageMistake):
    """A --property does not have the form KEY=VALUE. Whoever typed it corrects it."""
