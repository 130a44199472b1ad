"""`halter task-worker`: imports a TaskWorker of the user's, and runs it in this process until a signal."""

from functools import partial
from typing import Annotated

import typer

from halter.cli.connection import (
    CONNECT_SECONDS,
    Cluster,
    ConnectTimeout,
    Partitions,
    TopicsFile,
    asks_kafka,
    load_settings,
    patience,
    waiting_for_kafka,
)
from halter.cli.ending import ending_on_sigterm, exit_at_once
from halter.cli.programs import thing_in
from halter.cli.running_options import ReadyFile, Running

GIVEN_UP = 1
"""Exit code if attempts still ran when the grace was over."""


@asks_kafka
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
    ready_file: ReadyFile = None,
    *,
    running: Running,
    cluster: Cluster,
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

    running.begin()
    with ending_on_sigterm():  # until the task worker handles SIGTERM itself
        worker = thing_in(target, TaskWorker, "shop.tasks:worker")
        settings = load_settings(cluster, partitions=partitions, topics_file=topics_file, logs=True)
    with Client.of(settings) as client:
        with ending_on_sigterm(), patience(), waiting_for_kafka(settings, connect_timeout):
            client.reach(connect_timeout)
        if ready_file is not None:
            ready_file.write_text("{}\n")
        with running.answering(partial(probes_of, worker)):
            is_drained = worker.run(client, concurrency=concurrency, grace_s=grace, counts_s=counts)
    if not is_drained:
        exit_at_once(GIVEN_UP)  # else Python waits for what coroutines have started in threads
