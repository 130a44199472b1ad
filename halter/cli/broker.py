"""`halter broker`: runs the embedded Kafka in the foreground until a signal stops it.

This module knows signals, output and the default data folder. Everything about Kafka is in `halter.broker`.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.given import to_write
from halter.cli.usage import UsageMistake

if TYPE_CHECKING:
    from halter.broker import EmbeddedBroker

WATCH_SECONDS = 0.2


class Stopped(BaseException):
    """A signal asked the broker to stop. It is no Exception, so that no code on the way takes it for a failure."""


def broker(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the records. It is created if needed. Default: halter/broker in XDG_DATA_HOME or "
            "~/.local/share (broker-3 for three brokers).",
            show_default=False,
        ),
    ] = None,
    brokers: Annotated[int, typer.Option(metavar="1|3", help="One broker, or three that replicate.")] = 1,
    port: Annotated[
        int, typer.Option(min=1, max=65_533, help="Port of the first broker. The others take the next two ports.")
    ] = 9092,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Write what --json prints to this file when Kafka answers. The file is removed at the end.",
            show_default=False,
            callback=to_write,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when Kafka answers, instead of text.")
    ] = False,
    download_only: Annotated[bool, typer.Option("--download-only", help="Download Kafka, and exit.")] = False,
) -> None:
    """Run a real Apache Kafka without Docker or Java, until Ctrl-C or SIGTERM.

    The first start downloads Kafka (45 MB) to the cache folder. HALTER_CACHE names another cache folder.
    HALTER_MAVEN_REPOSITORY names a Maven mirror; a mirror in ~/.m2/settings.xml is used too.

    Records survive a stop, a crash and kill -9. Kafka listens on the loopback address only.

    A broker that ends is started again on its data and its port, while the others go on. After five ends in a row the
    command gives it up and prints what its log says. When it has given up more than half of the brokers, it ends.

    - `halter broker`
    - `halter broker --brokers 3 --port 19092 --data kafka-data`
    - `halter broker --ready-file ready.json &`
    """
    from halter.broker import EmbeddedBroker
    from halter.broker.cluster import SIZES, to_stderr
    from halter.broker.jars import KAFKA_VERSION, cache_folder, kafka_jars

    if brokers not in SIZES:
        why = ": two cannot outvote the loss of one" if brokers == 2 else ""
        raise UsageMistake(f"--brokers: expected 1 or 3, found {brokers}{why}")

    if download_only:
        jars = kafka_jars(to_stderr)
        typer.echo(f"Kafka {KAFKA_VERSION} is complete: {len(jars)} jars in {cache_folder()}")
        return

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    kafka = EmbeddedBroker(data or data_folder(brokers), brokers, port)
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)  # a process that was killed may have left it behind
    try:
        kafka.start()
        if as_json:
            typer.echo(ready_line(kafka))
        else:
            typer.echo(f"Kafka {KAFKA_VERSION} is ready at {kafka.bootstrap}; records and logs are in {kafka.data}")
            typer.echo("Ctrl-C stops it.")
        sys.stdout.flush()
        watch(kafka, ready_file)
    except Stopped:
        # A second signal must not interrupt the stop that the first asked for.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        to_stderr("stopping Kafka")
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        kafka.stop()


def watch(kafka: "EmbeddedBroker", ready_file: Path | None) -> None:
    """Keep the brokers running until a signal, which raises Stopped. Raises BrokerFailed when too many keep ending."""
    from halter.broker.cluster import to_stderr
    from halter.broker.keeper import Keeper

    keeper, told = Keeper(kafka, to_stderr), list[int]()
    # From here on a signal takes effect only between two looks: never between a start and the note of its process id.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    has_started, forever = True, threading.Event()
    while not told:
        if has_started and ready_file is not None:
            write_whole(ready_file, ready_line(kafka) + "\n")
        has_started = keeper.look()
        forever.wait(WATCH_SECONDS)
    raise Stopped


def ready_line(kafka: "EmbeddedBroker") -> str:
    """Return the line of JSON that tells a program how to reach the running Kafka."""
    from halter.broker.jars import KAFKA_VERSION

    return json.dumps(
        {
            "bootstrap": kafka.bootstrap,
            "data": str(kafka.data),
            "kafka": KAFKA_VERSION,
            "pid": os.getpid(),
            "broker_pids": kafka.pids,
        }
    )


def stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def data_folder(brokers: int) -> Path:
    """Return the default data folder for so many brokers."""
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "halter" / ("broker" if brokers == 1 else f"broker-{brokers}")


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step, so that a process that waits for it never reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
