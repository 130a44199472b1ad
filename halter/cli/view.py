"""`halter view` and `halter view status`: parse options, and say how it goes. `halter.view` does the work."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from halter.cli.client import Json
from halter.cli.connection import Kafka, Partitions, TopicsFile, asks_kafka, load_settings, patience, waiting_for_kafka
from halter.cli.ending import ending_on_sigterm
from halter.cli.given import to_write
from halter.cli.printing import print_json, print_line
from halter.cli.running_options import Running, until_signal
from processors.core.records.errors import HalterError
from processors.extras import expect_extra

app = typer.Typer()
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="FILE|URL",
        help="The view: a file of SQLite, or postgresql://user@host/database. Default: HALTER_VIEW, else "
        "halter/halter-view.db in XDG_DATA_HOME or ~/.local/share.",
        show_default=False,
    ),
]
NEW_SECONDS = 15.0
"""A view that was written this long ago is kept current by nobody."""


class NotCurrent(HalterError):
    """A view is not kept current. Whoever asked starts `halter view`."""


@app.callback(invoke_without_command=True)
@asks_kafka
def view(
    context: typer.Context,
    url: Url = None,
    once: Annotated[bool, typer.Option("--once", help="End when it has everything that is there now.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Build it anew from what Kafka has, beside the old one, which others read until the new one is there.",
        ),
    ] = False,
    with_masked: Annotated[
        bool, typer.Option("--with-masked", help="Store masked values too. Otherwise they are not in the view at all.")
    ] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            "--ready-file", help="File that is made once the view is current.", show_default=False, callback=to_write
        ),
    ] = None,
    *,
    running: Running,
    kafka: Kafka,
    partitions: Partitions = None,
    topics_file: TopicsFile = None,
) -> None:
    """Keep a view current until SIGTERM or Ctrl-C: tables of WfRuns, threads, waits, failures and more, in SQL.

    The first start fills it from what Kafka has; after that it goes on where it was. It joins no group, so several
    views of an installation do not disturb each other.

    - `halter view`
    - `halter view --url postgresql://halter@db/halter --health-port 8081`

    Exit codes: 0 ended by a signal or by --once, 1 an error, 2 wrong options.
    """
    if context.invoked_subcommand is not None:
        return
    expect_extra("view", "halter view")
    import structlog

    from halter.cli.view_health import probes_of
    from halter.client import Client
    from halter.view.following import Following
    from halter.view.place import open_view

    running.begin()
    settings = load_settings(kafka, partitions=partitions, topics_file=topics_file, logs=True)
    log = structlog.get_logger("halter.view")
    opened = open_view(url, writable=True)
    with Client.of(settings) as client:
        with ending_on_sigterm(), patience(), waiting_for_kafka(settings, kafka.connect_timeout):
            client.reach(kafka.connect_timeout, to_send=False)
        with until_signal() as stopped:
            following = Following(client, opened, with_masked=with_masked, stopped=stopped, log=log)
            if ready_file is not None:
                following.when_current(lambda: ready_file.write_text("{}\n"))
            with running.answering(partial(probes_of, following)):
                log.info("started", view=opened.where, prefix=client.topics.prefix)
                following.run(once=once, rebuild=rebuild)
                figures = following.figures
                log.info("stopped", records=figures.records, rows=figures.rows, lag=sum(figures.lag.values()))
    opened.close()


@app.command("status")
def status(url: Url = None, as_json: Json = False) -> None:
    """Say how far a view is, and whether somebody keeps it current.

    - `halter view status`

    Exit codes: 0 it is kept current, 1 it is not or there is none.
    """
    expect_extra("view", "halter view status")
    from halter.show.times import span
    from halter.view.place import open_view
    from halter.view.status import status_of

    found = status_of(open_view(url))
    if as_json:
        print_json(found.as_dict())
    else:
        for line in found.lines(time.time_ns() // 1_000_000):
            print_line(line)
    age_s = found.age_s(time.time_ns() // 1_000_000)
    if age_s > NEW_SECONDS and found.state == "READY":
        sys.stdout.flush()
        raise NotCurrent(
            f"nobody keeps the view current: it was written {span(round(age_s * 1_000))} ago; start `halter view`"
        )
