"""The Faust application of a worker: builds it from settings and runs it until a signal. Nothing happens at import.

Faust has the application, its agents and its lifecycle. Its Kafka clients, tables and web stay off: the runtime, a
service of the app, does everything that may lose or double nothing.
"""

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import Final

import faust
import structlog
from faust.app.base import BootStrategy as FaustBootStrategy

from processors.core.records.errors import HalterError
from processors.fold.contract import FoldFactory, SharedDefinitions
from processors.kafka.errors import KafkaSilent
from processors.kafka.settings import Settings
from processors.kafka.topic_check import check
from processors.kafka.topics import Topics
from processors.runtime.assembly import assemble
from processors.runtime.group.clients import Slot
from processors.runtime.group.clock import CLOCK, Clock
from processors.runtime.group.crash_points import CrashPoints
from processors.runtime.group.readiness import Readiness
from processors.runtime.loading.garbage import GARBAGE
from processors.runtime.service import Runtime
from processors.runtime.turn.measures import Measures
from processors.worker import agents
from processors.worker.ready_file import ReadyFile

STOP_SECONDS: Final = 4.5
PROBLEMS_SHOWN: Final = 3
FIRST_WORD_SECONDS: Final = 2.0
WORD_SECONDS: Final = 10.0
"""A worker that waits for Kafka says so after the first time, and again each time after the second."""
FORCED_EXIT_CODE: Final = 75
"""The worker was told to stop and Kafka did not answer in time. Nothing is lost: what was open is aborted later."""


class TopicsUnfit(HalterError):
    """The cluster's topics are not what topics.yaml says. An operator runs `halter topics plan`, then `apply`."""


class WorkerCrashed(HalterError):
    """A part of the worker ended that never should end: a bug. Developers act."""


class App(faust.App):
    """A Faust app whose records come from the runtime."""

    runtime: Runtime

    class BootStrategy(FaustBootStrategy):
        """Keeps Faust's own Kafka clients, tables and web from starting."""

        enable_kafka = False
        enable_web = False


def build(
    settings: Settings,
    topics: Topics,
    factory: FoldFactory,
    definitions: SharedDefinitions,
    *,
    slot: Slot,
    crash_points: CrashPoints | None = None,
    readiness: Readiness | None = None,
    clock: Clock = CLOCK,
    measures: Measures | None = None,
) -> App:
    """Return the application of one worker process. It measures what it does if there are `measures` to be filled."""
    app = App(
        topics.group,
        broker=f"kafka://{settings.bootstrap.split(',')[0]}",
        autodiscover=False,
        topic_allow_declare=False,
        web_enabled=False,
        # Faust makes this folder even if it keeps nothing there.
        datadir=Path(tempfile.gettempdir()) / f"halter-faust-{os.getuid()}",
    )
    channel = app.channel()
    app.runtime = assemble(
        app,
        channel,
        settings,
        topics,
        factory,
        definitions,
        slot,
        crash_points or CrashPoints(),
        readiness or Readiness(),
        clock,
        measures,
    )
    app.service(app.runtime)  # type: ignore[arg-type]  # it takes objects as well as classes
    agents.fold_agent(app, channel)
    return app


def await_kafka(settings: Settings, topics: Topics, readiness: Readiness) -> None:
    """Wait until Kafka answers. Log and readiness say so meanwhile. Raises KafkaUnavailable."""
    from confluent_kafka.admin import AdminClient

    log, admin, seconds = structlog.get_logger("halter.worker"), AdminClient(settings.admin()), FIRST_WORD_SECONDS
    while True:
        try:
            settings.reach(admin, topics.wf_commands, seconds)
        except KafkaSilent as silent:
            hint = f"{silent.start}, or name another with --bootstrap"
            log.warning("waiting_for_kafka", reason=str(silent), hint=hint)
            readiness.waits_for_kafka(True)
            seconds = WORD_SECONDS
        else:
            readiness.waits_for_kafka(False)
            return


def expect_topics(settings: Settings, topics: Topics) -> None:
    """Raise TopicsUnfit or KafkaUnavailable if a worker cannot run on this cluster."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(settings.admin())
    with settings.explaining("looking at the topics", admin):
        problems = check(topics, admin)
    if problems:
        more = f"; and {len(problems) - PROBLEMS_SHOWN} more like that" if len(problems) > PROBLEMS_SHOWN else ""
        raise TopicsUnfit("; ".join(problems[:PROBLEMS_SHOWN]) + more)


def run(app: App, ready_file: ReadyFile | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT, then stop it within 5 s. Raises HalterError if it ends by itself."""
    try:
        import uvloop
    except ImportError:
        loop_factory = None
    else:
        loop_factory = uvloop.new_event_loop
    GARBAGE.is_of_a_worker()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(Life(app, ready_file).live())


class Life:
    """The life of one worker, from start to stop."""

    def __init__(self, app: App, ready_file: ReadyFile | None) -> None:
        self._app, self._ready_file = app, ready_file
        self._told_to_stop = asyncio.Event()
        self._log = structlog.get_logger("halter.worker")
        if ready_file is not None:
            app.runtime.readiness.on_change = lambda snapshot: ready_file.write(snapshot.as_dict())

    async def live(self) -> None:
        """Start, wait for a signal or the end, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, number)
        try:
            await self._app.start()
            await self._until_the_end()
        finally:
            await self._stop()
        if self._app.runtime.failure is not None:
            raise self._app.runtime.failure
        if self._app.crash_reason is not None:
            raise WorkerCrashed(f"unexpected {self._app.crash_reason!r}") from self._app.crash_reason

    def _told(self, number: signal.Signals) -> None:
        self._log.info("stopping", signal=signal.Signals(number).name)
        self._told_to_stop.set()

    async def _until_the_end(self) -> None:
        """Wait for the first of these: a signal, the runtime's end, a crash of a part of the app."""
        ends = [
            asyncio.create_task(self._told_to_stop.wait()),
            asyncio.create_task(self._app.runtime.ended.wait()),
            asyncio.create_task(self._app.wait_until_stopped()),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    async def _stop(self) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._app.stop()), STOP_SECONDS)
        except TimeoutError:
            # A thread that waits for Kafka cannot be interrupted. An end by force loses nothing: the broker aborts the
            # transaction, or the next owner of the shards does.
            self._log.error("stop_forced", after_s=STOP_SECONDS, exit_code=FORCED_EXIT_CODE)
            if self._ready_file is not None:
                self._ready_file.remove()
            os._exit(FORCED_EXIT_CODE)
        if self._ready_file is not None:
            self._ready_file.remove()
