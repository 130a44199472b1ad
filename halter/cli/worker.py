"""`halter worker`: parses the options, then runs one worker in this process, or a supervisor of several processes."""

import os
import socket
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.connection import Cluster, Partitions, TopicsFile, asks_kafka, load_settings
from halter.cli.ending import end_on_sigterm, ends_at_once
from halter.cli.given import to_write
from halter.cli.running_options import PORT_MAX, Running
from halter.cli.usage import BadOptions
from processors.extras import expect_extra

if TYPE_CHECKING:
    from processors.kafka.settings import Settings
    from processors.runtime.group.readiness import Readiness
    from processors.worker.metrics import Metrics

OWN_OPTIONS = ("--processes", "--slot-prefix", "--slot", "--ready-file", "--health-port")


@dataclass(frozen=True)
class WorkerRunning(Running):
    """Where workers answer, each at a port of its own."""

    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port",
            min=1,
            max=PORT_MAX,
            envvar="HALTER_HEALTH_PORT",
            help="Answer GET /live, /ready and /metrics at this port. With --processes, the others take the next "
            "ports.",
            show_default=False,
        ),
    ] = None


@asks_kafka
def worker(
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="Number of worker processes. One that ends is started again.")
    ] = 1,
    slot: Annotated[
        str | None,
        typer.Option(
            help="Name of this worker in the group; no other running worker may have it. A worker that is killed and "
            "soon started again with the same slot keeps its shards. Default: a new name; the shards move to other "
            "workers when this one ends.",
            show_default=False,
        ),
    ] = None,
    slot_prefix: Annotated[
        str | None,
        typer.Option(
            help="With --processes: the slots are PREFIX-0, PREFIX-1, … Default: host name and a new name.",
            show_default=False,
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="File that exists while the worker is ready: it handles all shards that the group gave it. With "
            "--processes, each process also has its own: FILE.0, FILE.1, …",
            show_default=False,
            callback=to_write,
        ),
    ] = None,
    scenario: Annotated[
        bool,
        typer.Option(
            "--scenario",
            hidden=True,
            help="Be the worker of `halter scenario run --bootstrap`: standard input gives the scenario's topics, and "
            "says when a timer may fire.",
        ),
    ] = False,
    *,
    running: WorkerRunning,
    cluster: Cluster,
    partitions: Partitions = None,
    topics_file: TopicsFile = None,
) -> None:
    """Run workers until SIGTERM or Ctrl-C. Workers handle the records of all WfRuns: commands, events and reports.

    You may kill a worker at any time: nothing is lost or doubled. Stopping takes 5 seconds at most.

    - `halter worker`
    - `halter worker --processes 2 --ready-file ready.json`
    - `halter worker --slot $HOSTNAME --log-format json`
    """
    expect_extra("engine", "`halter worker`")
    if processes > 1 and slot is not None:
        raise BadOptions("--slot is for one process; with --processes use --slot-prefix")
    if processes == 1 and slot_prefix is not None:
        raise BadOptions("--slot-prefix is for several --processes; for one process use --slot")
    health_port = running.health_port
    if health_port is not None and health_port + processes - 1 > PORT_MAX:
        expected = f"expected a port that has {processes - 1} more above it for --processes {processes}"
        raise BadOptions(f"--health-port: {expected}, found {health_port}")
    running.begin(None if processes > 1 else slot)
    settings = load_settings(cluster, partitions=partitions, topics_file=topics_file, logs=True)
    if scenario:
        run_scenarios(settings)
    elif processes > 1:
        if settings.store != "memory" and slot_prefix is None:
            raise BadOptions(
                f"--processes: the store '{settings.store}' keeps its files by slot, so slots must keep their names: "
                "add --slot-prefix"
            )
        supervise(processes, slot_prefix or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", ready_file, health_port)
    else:
        run_here(settings, slot, ready_file, running)


def run_here(settings: "Settings", slot: str | None, ready_file: Path | None, running: Running) -> None:
    """Run a worker in this process."""
    from processors.runtime.group.readiness import Readiness

    readiness = Readiness()
    if running.health_port is None:
        fold(settings, slot, ready_file, readiness, None)
        return
    from processors.fold.tally import Tally
    from processors.runtime.turn.measures import Measures
    from processors.worker.metrics import Metrics
    from processors.worker.probes import Probes

    metrics = Metrics(lambda: readiness.snapshot, Measures(), Tally())
    with running.answering(partial(Probes, lambda: readiness.snapshot, metrics.text)):
        fold(settings, slot, ready_file, readiness, metrics)


def fold(
    settings: "Settings",
    slot: str | None,
    ready_file: Path | None,
    readiness: "Readiness",
    metrics: "Metrics | None",
) -> None:
    """Wait for Kafka, and for the Schema Registry if one is used; then fold until a signal.

    Without `metrics` nothing is measured.
    """
    from importlib.metadata import version

    import structlog

    from halter import DISTRIBUTION
    from halter.client.registry import until_prepared
    from processors.core.rules.context import Limits
    from processors.fold.definitions_view import DefinitionsView
    from processors.fold.shard_folds import ShardFolds
    from processors.fold.stores.choice import chosen
    from processors.runtime.group.clients import Slot
    from processors.runtime.group.crash_points import CrashAt
    from processors.worker import app
    from processors.worker.ready_file import ReadyFile

    ready = ReadyFile(ready_file) if ready_file else None  # first: a killed process may have left the file behind
    topics, codec, tracing = settings.topics(), settings.codec(), settings.tracing()
    own_slot = Slot(slot, static=True) if slot else Slot(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
    log = structlog.get_logger("halter.worker")
    log.info(
        "started",
        version=version(DISTRIBUTION),
        kafka=settings.bootstrap,
        group=topics.group,
        slot=own_slot.name,
        partitions=topics.partitions,
        store=settings.store,
    )
    end_on_sigterm()  # until the worker handles SIGTERM itself
    with ends_at_once():
        app.await_kafka(settings, topics, readiness)
        app.expect_topics(settings, topics)
        until_prepared(codec, log)
    crash_at = os.environ.get("HALTER_CRASH_AT")
    new_store = chosen(settings, topics, slot)
    definitions = DefinitionsView(codec, ThreadPoolExecutor(1, thread_name_prefix="wf-specs"))
    factory = ShardFolds(
        topics.partitions,
        codec,
        definitions,
        Limits(output_bytes=topics.output_bytes_max),
        tuple(topics.task_queues),
        new_store=new_store,
        ahead=ThreadPoolExecutor(1, thread_name_prefix="definitions"),
        tracing=tracing,
        tally=None if metrics is None else metrics.tally,
    )
    if metrics is not None:
        metrics.censuses = lambda: factory.censuses
        metrics.store = getattr(new_store, "folder", None)
    built = app.build(
        settings,
        topics,
        factory,
        definitions,
        slot=own_slot,
        # For tests of what a crash does.
        crash_points=CrashAt.parse(crash_at) if crash_at else None,
        readiness=readiness,
        measures=None if metrics is None else metrics.measures,
    )
    try:
        app.run(built, ready)
    finally:
        if tracing is not None:
            tracing.flush()


def run_scenarios(settings: "Settings") -> None:
    """Be the worker of a scenario: get ready, wait on standard input for the scenario, end when standard input does."""
    import io
    import threading
    from dataclasses import replace
    from functools import partial

    from processors.codec import Codec
    from processors.fold.definitions_view import DefinitionsView
    from processors.fold.shard_folds import ShardFolds
    from processors.runtime.group.clients import Slot
    from processors.worker import app
    from processors.worker.scenario_worker import PARTITIONS, SLOT, Assignment, ScenarioClock, ScenarioFold, topics_for

    codec = Codec.load(release=settings.schemas)
    # Unbuffered: a reading thread would hold the lock of a buffer when the process ends.
    told = io.FileIO(sys.stdin.fileno(), closefd=False)
    line = told.readline()
    if not line:
        return
    assignment = Assignment.read(line)
    settings = replace(settings, prefix=assignment.prefix, partitions=PARTITIONS)
    topics = topics_for(settings.topics(), assignment.queues)
    app.expect_topics(settings, topics)
    definitions, clock = DefinitionsView(codec), ScenarioClock()
    factory = ShardFolds(
        topics.partitions,
        codec,
        definitions,
        assignment.limits,
        tuple(topics.task_queues),
        new_fold=partial(ScenarioFold, clock),
    )
    threading.Thread(target=clock.follow, args=(told,), daemon=True).start()
    app.run(app.build(settings, topics, factory, definitions, slot=Slot(SLOT, static=True)))


def supervise(processes: int, slot_prefix: str, ready_file: Path | None, health_port: int | None) -> None:
    """Run worker processes with the options of this process, each in a slot of its own."""
    from halter.processes.supervisor import Supervisor
    from halter_kafka import COMMAND

    shared = without_options(sys.argv[1:], OWN_OPTIONS)
    numbers = {f"{slot_prefix}-{number}": number for number in range(processes)}

    def command(slot: str) -> list[str]:
        own = ["--slot", slot, "--ready-file", str(ready_files[slot])]
        if health_port is not None:
            own += ["--health-port", str(health_port + numbers[slot])]
        return [*COMMAND, *shared, *own]

    # The supervisor always needs ready files: they show whether a process has worked before it ended.
    with tempfile.TemporaryDirectory(prefix="halter-") as folder:
        beside = ready_file or Path(folder) / "ready"
        ready_files = {slot: Path(f"{beside}.{number}") for slot, number in numbers.items()}
        Supervisor(list(numbers), command, ready_file=ready_file, ready_files=ready_files).run()


def without_options(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """Return a command line without some options and their values (`--name value` or `--name=value`)."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in names:
            skip = True
        elif argument.partition("=")[0] not in names:
            kept.append(argument)
    return kept
