"""`halter demo`: options in, the report out. What is done is in `halter.demo`."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.connection import CONNECT_SECONDS, ConnectTimeout, load_settings, reach
from processors.errors import HalterError

if TYPE_CHECKING:
    from halter.demo.script import Result
    from halter.demo.stage import Stage


class CheckFailed(HalterError):
    """The check of the demo failed: a promise does not hold. Report it with what was printed."""


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave Kafka and the workers running, and say how to go on.")
    ] = False,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap",
            "-b",
            metavar="HOST:PORT",
            help="Use this Kafka instead of one of its own; topics get a prefix, and stay.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Put before the names of topics and groups.", show_default=False)
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="N, how many shards there are; else topics.yaml's.", show_default=False)
    ] = None,
    events: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Records for the cart; else examples/cart/events.jsonl.")
    ] = None,
    records: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Use only the first N of them.", show_default=False)
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Records per second in the first half.")] = 400.0,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Run the main job on a real Kafka of its own, kill -9 included, and check that nothing was lost or doubled.

    Starts Kafka, a worker and a task worker as processes of their own, registers the cart of examples/cart, feeds
    some thousand records (late, repeated and malformed ones among them), kills the worker with SIGKILL half-way, starts
    it again, waits until all is handled. Then it prints the log of one WfRun, what became of everything, figures, and
    a check that reads all topics again.

    - `halter demo`
    - `halter demo --keep`

    Exit codes: 0 the check passed, 1 it failed, or the demo could not be run, 2 usage.
    """
    from halter.demo import report
    from halter.demo.script import Demo, Options
    from halter.demo.stage import Stage

    settings = load_settings(bootstrap)  # sets up logging as all commands have it
    if bootstrap is not None:
        reach(settings, connect_timeout)
    options = Options(keep, bootstrap, prefix, partitions, events, records, rate)
    # Whoever stops the demo stops its processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Stage(say, keep=keep) as stage:
        result = Demo(options, say).run(stage)
        paint = report.Paint(sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        typer.echo()
        for line in report.lines(result, paint):
            typer.echo(line)
        result.client.close()
        if not result.ledger.holds:
            raise CheckFailed("the check failed, see above")
        if keep:
            typer.echo("\n".join(how_to_go_on(result, stage)))


def say(sentence: str) -> None:
    """Progress."""
    typer.echo(f"halter: {sentence}", err=True)


def how_to_go_on(result: "Result", stage: "Stage") -> list[str]:
    """What --keep prints."""
    from halter.demo.report import telling_wf_run

    settings = result.settings
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap,
        "HALTER_PREFIX": settings.prefix,
        "HALTER_PARTITIONS": settings.partitions,
    }
    exports = " ".join(f"{name}={value}" for name, value in variables.items() if value)
    pids = " ".join(str(actor.pid) for actor in stage.actors.values())
    shown = telling_wf_run(result.ledger)
    item = '{"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450}'
    return [
        "",
        "Everything is left running. Go on with:",
        f"  export {exports}",
        "  halter run cart --id my-cart --var customer=Ann --var card=card-1",
        f"  halter send my-cart item-added '{item}'",
        "  halter show my-cart",
        "  halter send my-cart slot-chosen tomorrow",
        "  halter send my-cart checkout",
        "  halter history my-cart",
        f"  halter history {shown}" if shown else "  halter spec list",
        f"Records and logs are in {stage.folder}. To end it all:",
        f"  kill {pids}; rm -r {stage.folder}",
    ]
