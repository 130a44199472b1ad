"""Options that the commands share which need a Client, and the Client."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.connection import Kafka, load_settings, patience, waiting_for_kafka
from halter.cli.given import LONG_MAX, filled, seconds
from halter.cli.printing import note

if TYPE_CHECKING:
    from halter.client import Client
    from processors.kafka.topics import Topics

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait for the outcome.", callback=seconds),
]

Thread = Annotated[int, typer.Option("--thread", metavar="N", min=0, max=LONG_MAX, help="Number of the ThreadRun.")]

Unmask = Annotated[bool, typer.Option("--unmask", help="Show masked values.")]

WfRunId = Annotated[str, typer.Argument(metavar="WF_RUN", help="Id of the WfRun.", show_default=False, callback=filled)]


@contextmanager
def connected(
    kafka: Kafka,
    *,
    to_send: bool = True,
    shows: Sequence[str] = (),
    expecting: "Callable[[Topics], object]" = lambda _: None,
) -> "Iterator[Client]":
    """Yield a Client of the installation that the options name, once Kafka answers.

    `to_send=False`: the command only reads. `shows` names the modules with which it shows what it finds: they are
    imported while Kafka answers. `expecting` raises what is wrong with the arguments, by what topics.yaml says.
    """
    settings = load_settings(kafka)  # first: what is wrong with them is told at once
    topics = settings.topics()
    expecting(topics)
    from halter.client import Client

    with patience(), Client.of(settings, topics) as client:
        client.reader.connect("read_committed")  # as `reach` does first
        for module in shows:
            import_module(module)
        with waiting_for_kafka(settings, kafka.connect_timeout):
            client.reach(kafka.connect_timeout, to_send=to_send)
        client.warn_with(note)
        if sys.stderr.isatty():
            client.reader.report = note
        yield client
