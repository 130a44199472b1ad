"""The definitions that a document is checked against: of files, or those that are registered, if Kafka answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.connection import Kafka, patience, waiting_for_kafka
from halter.cli.printing import note
from halter.cli.workflows import source_named

if TYPE_CHECKING:
    from halter.client import Client
    from processors.core.wf_spec.definitions import Definitions
    from processors.kafka.settings import Settings

LOOK_SECONDS = 1.0
"""How long a check looks for a Kafka that nobody named: it can do without."""
DefinitionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--definitions",
        metavar="FILE",
        help="Check against the definitions of this file, or MODULE:NAME, and ask no Kafka. May be repeated.",
    ),
]


def registered_now(kafka: Kafka, settings: "Settings") -> "Definitions | None":
    """Return the definitions that are registered; None, with a note, if a Kafka that nobody named does not answer."""
    seconds = kafka.connect_timeout if kafka.is_named else min(kafka.connect_timeout, LOOK_SECONDS)
    with registered(settings, seconds, must_answer=kafka.is_named) as client:
        return None if client is None else client.definitions()


def definitions_in(files: list[Path]) -> "Definitions":
    """Return the definitions of files, as if they were registered. Raises UnreadableFile and InvalidDefinitions."""
    from halter.files.definition_files import read_definition_files
    from processors.core.wf_spec.definitions import Definitions
    from processors.core.wf_spec.registration import tried

    found = Definitions()
    for one in read_definition_files([source_named(it) for it in files]):
        for definition in tried(found, one.command):
            found.apply(definition)
    return found


@contextmanager
def registered(settings: "Settings", seconds: float, *, must_answer: bool) -> "Iterator[Client | None]":
    """Yield a Client; None, with a note, if Kafka does not answer and need not."""
    from halter.cli.connection import KafkaNotThere
    from halter.client import Client
    from processors.kafka.errors import KafkaUnavailable

    with Client.of(settings) as client:
        try:
            with patience(), waiting_for_kafka(settings, seconds):
                client.reach(seconds, to_send=False)
        except (KafkaNotThere, KafkaUnavailable) as error:
            if must_answer:
                raise
            note(f"checked against no definitions: {error}; or give them with --definitions FILE")
            yield None
        else:
            yield client
