"""`halter task-worker`: imports a TaskWorker of the user's, and runs it in this process until a signal."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from halter.cli.connection import (
    CONNECT_SECONDS,
    Bootstrap,
    ConnectTimeout,
    Partitions,
    Prefix,
    Properties,
    PropertiesFile,
    TopicsFile,
    load_settings,
    patience,
)
from halter.cli.ending import ending_on_sigterm, exit_at_once
from halter.cli.programs import thing_in
from halter.cli.usage import BadOptions

LOOPBACK = "127.0.0.1"
GIVEN_UP = 1
"""Exit code if attempts still ran when the grace was over."""


def task_worker(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:NAME",
            help="Where the TaskWorker is: the module, as Python imports it from this folder, and its name there. A "
            "file will do as well: shop/tasks.py:worker.",
            show_default=False,
        ),
    ],
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="How many handlers run at a time. Default: what the TaskWorker says, 16."),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long handlers that run may take to end after SIGTERM or Ctrl-C. Default: what the TaskWorker "
            "says, 30.",
        ),
    ] = None,
    counts: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Log every so often how many attempts started, ended, expired."),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="File that is made when Kafka answers, before the group is joined; /ready says when it is.",
            show_default=False,
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            envvar="HALTER_HEALTH_PORT",
            help="Answer GET /live, /ready and /metrics at this port.",
            show_default=False,
        ),
    ] = None,
    health_host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            envvar="HALTER_HEALTH_HOST",
            help="Address for --health-port. 0.0.0.0 is every IPv4 address, :: every IPv6 address. Anyone who reaches "
            "it gets an answer, without a password. Default: 127.0.0.1.",
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        Literal["console", "json"], typer.Option(help="Log for people, or as one JSON object per line.")
    ] = "console",
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option(help="Lowest level to log.")] = (
        "info"
    ),
    bootstrap: Bootstrap = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    partitions: Partitions = None,
    topics_file: TopicsFile = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Run the handlers of a TaskWorker until SIGTERM or Ctrl-C.

    It then takes nothing more, waits for the handlers that run, reports, and leaves its group at once. A second signal
    ends it without waiting. Exit code: 0, or 1 if handlers still ran when the grace was over.

    - `halter task-worker shop.tasks:worker`
    - `halter task-worker shop.tasks:worker --concurrency 32 --grace 60`
    """
    from halter.cli.task_worker_health import probes_of
    from halter.client import Client
    from halter.task_worker import TaskWorker
    from processors.worker.logs import configure_logging

    if health_host is not None and health_port is None:
        raise BadOptions("--health-host (HALTER_HEALTH_HOST): expected a --health-port with it, found none")
    configure_logging(log_format, log_level)
    with ending_on_sigterm():  # until the task worker handles SIGTERM itself
        worker = thing_in(target, TaskWorker, "shop.tasks:worker")
        settings = load_settings(
            bootstrap, properties_file, properties, prefix, partitions=partitions, topics_file=topics_file, logs=True
        )
    with Client.of(settings) as client:
        with ending_on_sigterm(), patience():
            client.reach(connect_timeout)
        if ready_file is not None:
            ready_file.write_text("{}\n")
        with nullcontext() if health_port is None else probes_of(worker, health_host or LOOPBACK, health_port):
            is_drained = worker.run(client, concurrency=concurrency, grace_s=grace, counts_s=counts)
    if not is_drained:
        exit_at_once(GIVEN_UP)  # else Python waits for what coroutines have started in threads
