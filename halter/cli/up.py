"""`halter up`: parses the options, and runs the parts of a laptop until a signal. `halter.up` has the rest."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from halter.cli.another_terminal import exports
from halter.cli.broker import data_folder
from halter.cli.connection import Kafka, Partitions, asks_kafka, load_settings, reach
from halter.cli.printing import terminal_width
from halter.cli.usage import BadOptions
from halter.show.counting import counted
from processors.core.records.errors import HalterError
from processors.extras import expect_extra

if TYPE_CHECKING:
    from halter.up.folder import Folder
    from halter.up.parts import Part
    from halter.up.status import StatusLine
    from halter.up.tree import Tree
    from processors.kafka.settings import Settings

LOOK_SECONDS: Final = 0.2
CONSOLE_PORT: Final = 8090
USUAL: Final = "127.0.0.1:9092"
"""Where every command looks for Kafka if nothing says otherwise."""
OF_ONE_PROCESS: Final = frozenset({"HALTER_HEALTH_PORT", "HALTER_HEALTH_HOST"})
"""Variables that two processes of one machine cannot share."""
PASSED_ON: Final = frozenset(
    {"HALTER_PREFIX", "HALTER_PARTITIONS", "HALTER_TOPICS", "HALTER_ENVIRONMENT", "HALTER_CACHE",
     "HALTER_MAVEN_REPOSITORY", "HALTER_TRACEBACK"}
)  # fmt: skip
"""Variables of ours that the parts get if the broker is one of them. Others are about another Kafka."""


class Told(BaseException):
    """A signal asked for the end. It is no Exception, so that no code on the way takes it for a failure."""


class PortTaken(HalterError):
    """Something else listens at a port that a part needs. Whoever started us chooses another port, or stops that."""


@asks_kafka
def up(
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for records, view and logs, kept between runs. Default: halter in XDG_DATA_HOME or "
            "~/.local/share, where 'halter broker' has its records too.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65_533, help="Port of Kafka.")] = 9092,
    console_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the console.")] = CONSOLE_PORT,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="Let the console send commands, as 'halter console' says.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="PART",
            help="Leave out broker, topics, worker, view or console. May be repeated. Without a broker it uses the "
            "Kafka that the options or variables name.",
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            metavar="MODULE:NAME",
            help="Also run this task worker, as 'halter task-worker' does.",
            show_default=False,
        ),
    ] = None,
    partitions: Partitions = None,
    *,
    kafka: Kafka,
) -> None:
    """Run all that a laptop needs until Ctrl-C: Kafka, the topics, a worker, the view and the console.

    One process tree, one line that says how the parts are. A part that ends is started again. When this command ends,
    however it ends, all of them do. Records, view and logs stay in the folder, so the next start goes on.

    - `halter up`
    - `halter up --tasks shop.tasks:worker --port 19092 --data shop-data`
    - `halter up --bootstrap kafka.example.com:9092 --without topics`

    Exit codes: 0 ended by a signal, 1 an error or a part that cannot live, 2 wrong options.
    """
    from halter.up.folder import Folder
    from halter.up.parts import EXTRAS

    left_out = parts_left_out(without or [], kafka)
    for part, extra in EXTRAS.items():
        if part not in left_out:
            expect_extra(extra, f"`halter up` with the part {part} (--without {part} leaves it out)")
    own_kafka = "broker" not in left_out
    if not own_kafka:
        reach(load_settings(kafka, partitions=partitions), kafka.connect_timeout)
    with Folder(data or data_folder(1).parent) as folder:
        if own_kafka:
            expect_free(port, "--port", f"; if it is the Kafka that you want, give --bootstrap 127.0.0.1:{port}")
        if "console" not in left_out:
            expect_free(console_port, "--console-port", "")
        run_parts(folder, Wanted(left_out, port, console_port, allow_actions, tasks, partitions), kafka)


@dataclass(frozen=True)
class Wanted:
    """What the options ask for."""

    left_out: frozenset[str]
    port: int
    console_port: int
    allow_actions: bool
    tasks: str | None
    partitions: int | None


def run_parts(folder: "Folder", wanted: Wanted, kafka: Kafka) -> None:
    """Start the parts, and keep them running until a signal."""
    from halter.up import parts
    from halter.up.tree import Tree

    status = status_line()
    own_kafka = "broker" not in wanted.left_out
    tree = Tree(folder.logs, environment(own_kafka=own_kafka), status.say)
    if wanted.partitions is not None:
        tree.environment["HALTER_PARTITIONS"] = str(wanted.partitions)
    with until_told(tree, status):
        where = kafka.arguments
        if own_kafka:
            status.say("starting Kafka")
            tree.start(parts.broker(wanted.port, str(folder.path / "broker")))
            bootstrap = str(tree.wait_ready("broker")["bootstrap"])
            where = Kafka(bootstrap, prefix=kafka.prefix).arguments
            settings = settings_of_ours(bootstrap, tree, kafka.prefix)
        else:
            settings = load_settings(kafka, partitions=wanted.partitions)
        if "topics" not in wanted.left_out:
            make_topics(settings, status)
        view = tree.environment.get("HALTER_VIEW") or str(folder.path / "halter-view.db")
        started = [
            parts.worker(where),
            parts.view(where, view),
            parts.console(where, view, wanted.console_port, allow_actions=wanted.allow_actions),
            *([] if wanted.tasks is None else [parts.task_worker(where, wanted.tasks)]),
        ]
        go_on(tree, status, [it for it in started if it.name not in wanted.left_out], settings, view, folder)


def go_on(
    tree: "Tree",
    status: "StatusLine",
    started: "list[Part]",
    settings: "Settings",
    view: str,
    folder: "Folder | None" = None,
    then: Sequence[str] = (),
) -> NoReturn:
    """Start more parts, say where to go when they are ready, and keep all running. Without a folder nothing is kept."""
    for part in started:
        tree.start(part)
    tree.wait_all_ready([part.name for part in started], lambda: status.show(tree.states))
    status.clear()
    console = tree.console_link
    if folder is not None:
        folder.says(f"Kafka at {settings.bootstrap}{'' if console is None else f', the console at {console}'}")
    for line in [*where_to_go(tree, settings, view, keeps=folder is not None), *then]:
        typer.echo(line)
    sys.stdout.flush()
    keep(tree, status)


def keep(tree: "Tree", status: "StatusLine") -> NoReturn:
    """Keep the parts of a tree running, and show how they are. Only an exception ends this, as that of a signal."""
    forever = threading.Event()
    while True:
        tree.look()
        status.show(tree.states)
        forever.wait(LOOK_SECONDS)


@contextmanager
def until_told(tree: "Tree", status: "StatusLine") -> Iterator[None]:
    """End the tree with the block: when a signal says so, which ends the block, and after an error."""

    def tell(*_: object) -> NoReturn:
        raise Told

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    except Told:
        pass
    finally:
        # A second signal must not interrupt the end that the first asked for.
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        status.clear()
        if tree.states:
            status.say(f"ending {', '.join(reversed(tree.states))}")
        tree.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def status_line() -> "StatusLine":
    """Return the line on stderr."""
    from halter.up.status import StatusLine

    return StatusLine(sys.stderr, lambda: terminal_width(sys.stderr))


def parts_left_out(without: list[str], kafka: Kafka) -> frozenset[str]:
    """Return the parts to leave out. Raises BadOptions. Whoever names a Kafka wants no other."""
    from halter.up.parts import MAY_BE_LEFT_OUT
    from processors.core.wf_spec.near_names import NearNames

    for name in without:
        if name not in MAY_BE_LEFT_OUT:
            hint = NearNames().meant_or_known(name, MAY_BE_LEFT_OUT)
            raise BadOptions(f"--without: expected one of {', '.join(MAY_BE_LEFT_OUT)}, found '{name}'{hint}")
    return frozenset(without) | ({"broker"} if kafka.is_named else set())


def environment(*, own_kafka: bool) -> dict[str, str]:
    """Return the variables of the parts. With a Kafka of our own, they get none that is about another one."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in OF_ONE_PROCESS
        and (not own_kafka or not name.startswith(("KAFKA_", "HALTER_")) or name in PASSED_ON)
    }


def settings_of_ours(bootstrap: str, tree: "Tree", prefix: str | None) -> "Settings":
    """Return how to speak to our own Kafka: as the parts do, whatever variables say of another one."""
    from processors.kafka.settings import Settings

    return Settings.load(None, tree.environment, {"bootstrap.servers": bootstrap}, prefix=prefix, logs=False)


def expect_free(port: int, option: str, otherwise: str) -> None:
    """Check that nothing listens at a port of the loopback address. Raises PortTaken."""
    from halter.broker.cluster import becomes_free

    if not becomes_free(port):
        raise PortTaken(f"something else listens at 127.0.0.1:{port}: choose another {option}{otherwise}")


def make_topics(settings: "Settings", status: "StatusLine") -> None:
    """Make the topics that are missing, as `halter topics apply` does. Raises PlanRefused and ApplyFailed."""
    from confluent_kafka.admin import AdminClient

    from halter.topics.admin import Action, make_so

    topics, admin = settings.topics(), AdminClient(settings.admin())
    with settings.explaining("making the topics", admin):
        made = len(make_so(topics, admin, "auto").with_action(Action.CREATE))
    if made:
        status.say(f"made {counted(made, 'topic')}")


def where_to_go(tree: "Tree", settings: "Settings", view: str, *, keeps: bool) -> Iterator[str]:
    """Yield what a person needs to go on."""
    yield f"Kafka    {settings.bootstrap}"
    if (console := tree.console_link) is not None:
        yield f"Console  {console}"
    yield f"Logs     {tree.folder}"
    usual_view = str(data_folder(1).parent.expanduser().resolve() / "halter-view.db")
    told = {
        "KAFKA_BOOTSTRAP_SERVERS": "" if settings.bootstrap == USUAL else settings.bootstrap,
        "HALTER_PREFIX": settings.prefix,
        "HALTER_PARTITIONS": "" if settings.partitions is None else str(settings.partitions),
        "HALTER_VIEW": "" if view == usual_view or "view" not in tree.states else view,
    }
    to_set = exports(told)  # also what is set here: another terminal need not have it
    if to_set and keeps:
        yield f"In another terminal: {to_set}"
    yield f"Ctrl-C ends everything{'; records, view and logs stay' if keeps else ', and removes records and logs'}."
