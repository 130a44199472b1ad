"""`halter demo`: parses the options and prints the report. The work is done in `halter.demo`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.another_terminal import exports
from halter.cli.connection import CONNECT_SECONDS, Cluster, ConnectTimeout, load_settings, reach
from halter.cli.ending import exit_on_sigterm
from processors.core.records.errors import HalterError
from processors.extras import expect_extra

if TYPE_CHECKING:
    from halter.demo.script import Result
    from halter.demo.stage import Stage


class CheckFailed(HalterError):
    """The check of the demo failed: a promise does not hold. Report it with the output."""


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Go on running until Ctrl-C, with view and console, as 'halter up' does.")
    ] = False,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap",
            "-b",
            metavar="HOST:PORT",
            help="Use this Kafka instead of starting one. Topics get a prefix, and are not removed.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Prefix for the names of topics and groups.", show_default=False)
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Number of partitions. Default: as in topics.yaml.", show_default=False),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Records to produce. Default: those of examples/cart/events.jsonl."),
    ] = None,
    records: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Produce only the first N records.", show_default=False)
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Records per second in the first half.")] = 400.0,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Run an example on a real Kafka, kill the worker with kill -9, and check that nothing is lost or doubled.

    The demo starts Kafka, a worker and a task worker, and registers the WfSpec of examples/cart. It produces some
    thousand records, some of them late, repeated or malformed. Half-way it kills the worker with SIGKILL and starts it
    again. When every record is handled, it prints the log of one WfRun, what became of the records, some figures, and
    the result of a check that reads all topics again.

    - `halter demo`
    - `halter demo --keep`

    Exit codes: 0 the check passed, 1 it failed or the demo could not run, 2 wrong options.
    """
    expect_extra("all", "`halter demo`")
    from halter.demo import report
    from halter.demo.script import Demo, Options
    from halter.demo.stage import Stage

    settings = load_settings(Cluster(bootstrap))
    if bootstrap is not None:
        reach(settings, connect_timeout)
    log_what_is_critical()
    options = Options(keep, bootstrap, prefix, partitions, events, records, rate)
    exit_on_sigterm()  # so that the processes of the demo are stopped too
    with Stage(say) as stage:
        result = Demo(options, say).run(stage)
        paint = report.Paint(sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        typer.echo()
        for line in report.lines(result, paint):
            typer.echo(line)
        result.client.close()
        if not result.ledger.holds:
            raise CheckFailed("the check failed, see above; report it with this output")
        if keep:
            keep_running(result, stage)


def say(sentence: str) -> None:
    """Print progress on stderr."""
    typer.echo(f"halter: {sentence}", err=True)


def log_what_is_critical() -> None:
    """Keep the log of the task worker and of the Kafka clients out of what the demo prints."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def keep_running(result: "Result", stage: "Stage") -> None:
    """Keep the processes of the demo running until a signal, with a view and the console."""
    from halter.broker.cluster import choose_ports, is_free
    from halter.cli.up import CONSOLE_PORT, go_on, status_line, until_told
    from halter.up import parts
    from halter.up.tree import Tree

    status, view = status_line(), str(stage.folder / "halter-view.db")
    port = CONSOLE_PORT if is_free(CONSOLE_PORT) else choose_ports(1)[0]
    tree = Tree(stage.folder, stage.environment, status.say)
    for name, actor in stage.actors.items():
        tree.adopt(parts.Part(name, stage.commands[name]), actor)
    more = [parts.view([], view), parts.console([], view, port, allow_actions=True)]
    typer.echo()
    with until_told(tree, status):
        go_on(tree, status, more, result.settings, view, then=how_to_go_on(result, view))


def how_to_go_on(result: "Result", view: str) -> list[str]:
    """Return what to type in another terminal."""
    from halter.demo.report import telling_wf_run

    settings = result.settings
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap,
        "HALTER_PREFIX": settings.prefix,
        "HALTER_PARTITIONS": settings.partitions,
        "HALTER_VIEW": view,
    }
    shown = telling_wf_run(result.ledger)
    item = '{"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450}'
    return [
        "In another terminal:",
        f"  {exports(variables)}",
        "  halter run cart --id my-cart --var customer=Ann --var card=card-1",
        f"  halter send my-cart item-added '{item}'",
        "  halter show my-cart",
        "  halter send my-cart slot-chosen tomorrow",
        "  halter send my-cart checkout",
        "  halter history my-cart",
        f"  halter history {shown}" if shown else "  halter spec list",
    ]
