"""The command line: `halter COMMAND`.

This module knows the names of the commands, and not how they work. A command's module is imported only when the
command is called, so `halter --help` and shell completion need neither Kafka nor Avro.

To add a command, write its module and add one line to COMMANDS: the name, `module:attribute`, one sentence for the
list, and the panel that lists it. The attribute is a `typer.Typer` (a group of commands, or one) or a plain function
with Typer's annotations. Modules keep slow imports (confluent_kafka, faust, fastavro, rich) inside their functions
where other commands would pay for them.

Every command may rely on this: a HalterError ends the process with one sentence on stderr and exit code 1, Ctrl-C
ends it with 130, a wrong option with 2. Results go to stdout, everything else to stderr.
"""

import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from halter import DISTRIBUTION
from halter.cli.ending import INTERRUPTED, exit_at_once
from halter.cli.usage import EXIT_CODE, UsageMistake
from processors.core.records.errors import HalterError


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command's place in the code, and what `halter --help` says about it without importing that place."""

    target: str
    help: str
    panel: str


PIPE_CLOSED = 128 + 13
"""Exit code where the reader of a pipe has ended, as a shell gives it to SIGPIPE."""
TRY = "Try it"
DEFINE = "Definitions"
USE = "WfRuns"
OPERATE = "Operations"
DEBUG = "Debugging"
MEND = "When a rule raises an exception"
COMMANDS = {
    "demo": LazyCommand("halter.cli.demo:demo", "Run an example on a real Kafka, and check the result.", TRY),
    "broker": LazyCommand("halter.cli.broker:broker", "Run a real Apache Kafka without Docker or Java.", TRY),
    "spec": LazyCommand("halter.cli.spec:app", "Check, draw and register WfSpecs and other definitions.", DEFINE),
    "scenario": LazyCommand("halter.cli.scenario:app", "Test WfSpecs with scenarios, in memory or on Kafka.", DEFINE),
    "explore": LazyCommand(
        "halter.cli.explore:explore", "Try every order of inputs on a WfSpec, and say what can go wrong.", DEFINE
    ),
    "run": LazyCommand("halter.cli.runs:run", "Start a WfRun of a WfSpec.", USE),
    "send": LazyCommand("halter.cli.runs:send", "Post an ExternalEvent to a WfRun.", USE),
    "show": LazyCommand("halter.cli.runs:show", "Show a WfRun: threads, what they wait for, Variables.", USE),
    "stop": LazyCommand("halter.cli.runs:stop", "Stop a WfRun, or one of its threads.", USE),
    "resume": LazyCommand("halter.cli.runs:resume", "Resume a WfRun, or one of its threads.", USE),
    "rescue": LazyCommand("halter.cli.runs:rescue", "Revive a thread that is in ERROR.", USE),
    "migrate": LazyCommand("halter.cli.migrating:migrate", "Let a WfRun go on by another version of its WfSpec.", USE),
    "delete": LazyCommand("halter.cli.runs:delete", "Delete a WfRun and free its id.", USE),
    "fork": LazyCommand("halter.cli.forking:fork", "Start a WfRun from an earlier moment of another one.", USE),
    "reset": LazyCommand("halter.cli.forking:reset", "Let a WfRun go on from an earlier moment.", USE),
    "history": LazyCommand("halter.cli.history:history", "Show every event of a WfRun, each with its cause.", DEBUG),
    "state": LazyCommand("halter.cli.history:state", "Show a WfRun as it was at any event or time.", DEBUG),
    "diff": LazyCommand("halter.cli.history:differing", "Show what differs between two moments, or two WfRuns.", DEBUG),
    "timeline": LazyCommand("halter.cli.timeline:timeline", "Write a page to step through a WfRun's history.", DEBUG),
    "export": LazyCommand("halter.cli.history:export", "Write WfRuns into one file, to look at anywhere.", DEBUG),
    "why": LazyCommand("halter.cli.why:why", "Say why a WfRun does not move, and what frees it.", DEBUG),
    "why-not": LazyCommand("halter.cli.why:why_not", "Say why an ExternalEvent did nothing, or what it did.", DEBUG),
    "cause": LazyCommand("halter.cli.why:cause", "Show what a record caused, or what caused something.", DEBUG),
    "topics": LazyCommand("halter.cli.topics:app", "Compare the cluster with topics.yaml, and create topics.", OPERATE),
    "worker": LazyCommand("halter.cli.worker:worker", "Run workers: the processes that handle the records.", OPERATE),
    "task-worker": LazyCommand(
        "halter.cli.task_worker:task_worker", "Run the tasks of WfRuns with your handlers.", OPERATE
    ),
    "schemas": LazyCommand("halter.cli.schemas:app", "List, print and register the Avro schemas.", OPERATE),
    "verify": LazyCommand("halter.cli.verify:verify", "Decide recorded inputs again, and compare with the log.", DEBUG),
    "check-state": LazyCommand("halter.cli.verify:check_state", "Compare the rows of a partition with its log.", DEBUG),
    "replay": LazyCommand("halter.cli.replay:replay", "Fold a range of inputs again, into topics of its own.", DEBUG),
    "quarantine": LazyCommand(
        "halter.cli.operations:quarantine", "Keep a WfRun's records aside, so that its partition goes on.", MEND
    ),
    "release": LazyCommand("halter.cli.operations:release", "End a quarantine and handle the kept records.", MEND),
    "skip": LazyCommand("halter.cli.operations:skip", "Pass over one record for good.", MEND),
}


def load(name: str) -> TyperCommand | TyperGroup:
    """Import a command's module and return the command that parses its options."""
    module_name, attribute = COMMANDS[name].target.split(":")
    target = getattr(importlib.import_module(module_name), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False)
        target.command(name)(function)
    # Markdown joins the lines of a docstring's paragraph, whatever the width of the terminal.
    target.rich_markup_mode = "markdown"
    # Typer gives every command it converts options for shell completion; the top level has them already.
    target._add_completion = False
    command: TyperCommand | TyperGroup = typer.main.get_command(target)  # type: ignore[assignment]
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that lists the commands of COMMANDS without importing them, and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=lazy.help, rich_help_panel=lazy.panel) for name, lazy in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, (load(name) if name in COMMANDS else command), rest


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"halter {version(DISTRIBUTION)} ({the_core()})")
        raise typer.Exit


def the_core() -> str:
    """Return whether the rules of this installation are compiled (hatch_build.py). It imports none of them."""
    from importlib.util import find_spec

    spec = find_spec("processors.core.rules.engine")
    assert spec is not None
    return "core in Python" if str(spec.origin).endswith(".py") else "compiled core"


@app.callback(
    epilog="Start with 'halter demo'. Commands find Kafka at --bootstrap, else at KAFKA_BOOTSTRAP_SERVERS, else at "
    "localhost:9092."
)
def halter(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=show_version, is_eager=True),
) -> None:
    """Run durable workflows on Kafka that an ExternalEvent can interrupt."""


def fail(sentence: str, exit_code: int = 1) -> NoReturn:
    """End the process with a sentence on stderr. On a terminal it is wrapped."""
    said = f"halter: {sentence}"
    if sys.stderr.isatty():
        import shutil

        from halter.show.wrapping import wrapped

        width = max(shutil.get_terminal_size().columns, 20)
        said = "\n".join(part for line in said.split("\n") for part in wrapped(line, width))
    print(said, file=sys.stderr)  # noqa: T201  the one place that prints errors
    raise SystemExit(exit_code)


def command() -> None:
    """Run the program `halter`, and end the process without waiting for threads or Kafka clients."""
    exit_code: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        exit_code = end.code
    exit_at_once(exit_code if isinstance(exit_code, int) else bool(exit_code))


def main() -> None:
    """Run the command line, and turn every exception into a sentence and an exit code."""
    try:
        # Not `app()`: it would print Typer's own traceback before our sentence.
        typer.main.get_command(app)(prog_name="halter")
    except UsageMistake as error:
        fail(str(error), EXIT_CODE)
    except HalterError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        raise SystemExit(PIPE_CLOSED) from None  # whoever read the output has enough of it
    except Exception as error:  # noqa: BLE001  the user gets a sentence for every error
        if os.environ.get("HALTER_TRACEBACK"):
            traceback.print_exc()
        fail(f"unexpected {type(error).__name__}: {error} (HALTER_TRACEBACK=1 shows where)")
