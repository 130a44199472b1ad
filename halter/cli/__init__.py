"""The command line: `halter COMMAND`.

Knows the names of the commands and nothing of what they do. A command's module is imported when it is
called, not before, so `halter --help` and shell completion need neither Kafka nor Avro.

To add a command, write its module and add one line to COMMANDS: name, `module:attribute`, one sentence for
the list. The attribute is a `typer.Typer` (a group of commands, or one) or a plain function with Typer's
annotations. Modules keep slow imports (confluent_kafka, faust, fastavro, rich) inside their functions where
`--help` would pay for them.

What every command may rely on: a HalterError ends it with one sentence on stderr and exit code 1; Ctrl-C
with 130; a wrong option with 2. Results go to stdout, everything else to stderr.
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
from halter.cli.ending import INTERRUPTED, leave
from halter.cli.usage import EXIT_CODE, UsageMistake
from processors.errors import HalterError


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and the sentence that `halter --help` shows without going there."""

    target: str
    help: str


COMMANDS = {
    "demo": LazyCommand("halter.cli.demo:demo", "Run the main job on a real Kafka of its own, and check it."),
    "broker": LazyCommand("halter.cli.broker:broker", "Run a real Apache Kafka without Docker or Java."),
    "topics": LazyCommand("halter.cli.topics:app", "Compare the cluster with topics.yaml, and make it so."),
    "worker": LazyCommand("halter.cli.worker:worker", "Run worker processes that fold commands and events."),
    "spec": LazyCommand("halter.cli.spec:app", "Check, draw and register definitions."),
    "scenario": LazyCommand("halter.cli.scenario:app", "Test WfSpecs: scenarios as documents, in memory or on Kafka."),
    "run": LazyCommand("halter.cli.runs:run", "Run a WfSpec: start a WfRun."),
    "send": LazyCommand("halter.cli.runs:send", "Post an ExternalEvent to a WfRun."),
    "show": LazyCommand("halter.cli.runs:show", "Show a WfRun: its threads, what they wait for, its Variables."),
    "history": LazyCommand("halter.cli.runs:history", "Show every event of a WfRun, each with its cause."),
    "stop": LazyCommand("halter.cli.runs:stop", "Stop a WfRun, or one of its threads."),
    "resume": LazyCommand("halter.cli.runs:resume", "Resume a WfRun, or one of its threads."),
    "rescue": LazyCommand("halter.cli.runs:rescue", "Revive a thread that is in ERROR."),
    "delete": LazyCommand("halter.cli.runs:delete", "Forget a WfRun; its id is free again."),
    "quarantine": LazyCommand(
        "halter.cli.operations:quarantine", "Keep a WfRun's inputs, so that its partition goes on."
    ),
    "release": LazyCommand("halter.cli.operations:release", "End a quarantine: decide what was kept."),
    "skip": LazyCommand("halter.cli.operations:skip", "Pass over one record on which a rule breaks."),
    "schemas": LazyCommand("halter.cli.schemas:app", "List and print the Avro schemas of the topics."),
}


def load(name: str) -> TyperCommand | TyperGroup:
    """Import a command's module and return the command that parses its options."""
    module_name, attribute = COMMANDS[name].target.split(":")
    target = getattr(importlib.import_module(module_name), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False, rich_markup_mode="markdown")
        target.command(name)(function)
    # Typer gives every command it converts options for shell completion; the top level has them already.
    target._add_completion = False
    command: TyperCommand | TyperGroup = typer.main.get_command(target)  # type: ignore[assignment]
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """Lists the commands of COMMANDS without importing them; imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=lazy.help) for name, lazy in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, (load(name) if name in COMMANDS else command), rest


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"halter {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback(epilog="Start with `halter demo`. Kafka is looked for at KAFKA_BOOTSTRAP_SERVERS, else localhost:9092.")
def halter(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=show_version, is_eager=True),
) -> None:
    """Durable workflows on Kafka that an ExternalEvent can interrupt."""


def fail(sentence: str, exit_code: int = 1) -> NoReturn:
    """End the process with a sentence on stderr."""
    print(f"halter: {sentence}", file=sys.stderr)  # noqa: T201  the one place where errors become words
    raise SystemExit(exit_code)


def command() -> None:
    """Be the program `halter`: the command line, and an end that waits for nobody if it did not go well."""
    try:
        main()
    except SystemExit as end:
        if end.code:
            leave(end.code if isinstance(end.code, int) else 1)
        raise


def main() -> None:
    """Run the command line and turn every way to end into an exit code."""
    try:
        # Not `app()`: that would put Typer's own traceback printer before our sentences.
        typer.main.get_command(app)(prog_name="halter")
    except UsageMistake as error:
        fail(str(error), EXIT_CODE)
    except HalterError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  whatever it is, the user gets a sentence
        if os.environ.get("HALTER_TRACEBACK"):
            traceback.print_exc()
        fail(f"unexpected {type(error).__name__}: {error} (HALTER_TRACEBACK=1 shows where)")
