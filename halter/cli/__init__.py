"""The command line: `halter COMMAND`.

This module knows the names of the commands, and not how they work. A command's module is imported only when the
command is called, so `halter --help` and shell completion need neither Kafka nor Avro.

To add a command, write its module and add one line to COMMANDS: the name, `module:attribute`, one sentence for the
list, and the panel that lists it. The attribute is a `typer.Typer` (a group of commands, or one) or a plain function
with Typer's annotations. Modules keep slow imports (confluent_kafka, faust, fastavro, rich) inside their functions
where other commands would pay for them.

Every command may rely on this: a HalterError ends the process with one sentence on stderr and exit code 1, Ctrl-C
ends it with 130, a wrong option with 2. Results go to stdout, everything else to stderr.

The other modules have what several commands share, or a part of one:

    connection, client            where Kafka is; a Client of it
    typed, printing               what was typed, as what it stands for; results and notes, as wide as the terminal
    option_groups                 options that several commands have, each written once
    running_options               those of commands that run until a signal, and the signal
    another_terminal              what to type elsewhere to reach what this process runs
    given                         what is wrong by itself, and refused before anything is asked
    asked                         who runs a command that changes something, and why
    source, views                 reads an export in place of Kafka; opens the view
    otlp                          `halter export --otlp`
    workflows, programs           arguments that name definitions, or something in a module of the user's
    known_definitions             the definitions that a document is checked against
    states                        prints the state of a WfRun
    definitions, spec_delete      commands of `halter spec`
    document_schemas              the JSON Schemas that `halter schemas document` prints
    console_login                 who may log in to the console
    transforming                  what `halter bind run` and `halter sink run` have in common
    task_worker_health, transform_health, view_health
                                  what processes answer to probes
    ending, usage                 how the process of a command ends; mistakes in how it is used
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
    "up": LazyCommand("halter.cli.up:up", "Run all that a laptop needs, until Ctrl-C.", TRY),
    "demo": LazyCommand("halter.cli.demo:demo", "Run an example on a real Kafka, and check the result.", TRY),
    "broker": LazyCommand("halter.cli.broker:broker", "Run a real Apache Kafka without Docker or Java.", TRY),
    "spec": LazyCommand("halter.cli.spec:app", "Check, draw and register WfSpecs and other definitions.", DEFINE),
    "scenario": LazyCommand("halter.cli.scenario:app", "Test WfSpecs with scenarios, in memory or on Kafka.", DEFINE),
    "explore": LazyCommand(
        "halter.cli.explore:explore", "Try every order of inputs on a WfSpec, and say what can go wrong.", DEFINE
    ),
    "run": LazyCommand("halter.cli.runs:run", "Start a WfRun of a WfSpec.", USE),
    "send": LazyCommand("halter.cli.runs:send", "Post an ExternalEvent to a WfRun.", USE),
    "correlate": LazyCommand(
        "halter.cli.correlation:correlate", "Post an ExternalEvent to all WfRuns that have a key.", USE
    ),
    "correlations": LazyCommand("halter.cli.correlation:correlations", "Show which WfRuns have a key.", USE),
    "show": LazyCommand("halter.cli.runs:show", "Show a WfRun: threads, what they wait for, Variables.", USE),
    "list": LazyCommand("halter.cli.lists:list_wf_runs", "List WfRuns: by status, halt reason, wait, Variable …", USE),
    "stats": LazyCommand("halter.cli.lists:stats", "Say how many WfRuns there are, and of which kinds.", USE),
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
    "bulk": LazyCommand("halter.cli.bulk:bulk", "Stop, resume, rescue, delete or fork many WfRuns at once.", OPERATE),
    "dead-letters": LazyCommand(
        "halter.cli.dead_letters:app", "Look at records that could not be taken, and retry them.", OPERATE
    ),
    "topics": LazyCommand("halter.cli.topics:app", "Compare the cluster with topics.yaml, and create topics.", OPERATE),
    "doctor": LazyCommand("halter.cli.doctor:doctor", "Say what is wrong with an installation, and the mend.", OPERATE),
    "bind": LazyCommand("halter.cli.bind:app", "Make ExternalEvents of the records of your topics.", OPERATE),
    "worker": LazyCommand("halter.cli.worker:worker", "Run workers: the processes that handle the records.", OPERATE),
    "task-worker": LazyCommand(
        "halter.cli.task_worker:task_worker", "Run the tasks of WfRuns with your handlers.", OPERATE
    ),
    "console": LazyCommand("halter.cli.console:console", "Serve pages that show what WfRuns do.", OPERATE),
    "sink": LazyCommand("halter.cli.sink:app", "Write what happens to WfRuns to a topic of yours.", OPERATE),
    "view": LazyCommand("halter.cli.view:app", "Keep the state of all WfRuns in SQL, to ask for them.", OPERATE),
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
        target.command(name, cls=Command)(function)
    # Markdown joins the lines of a docstring's paragraph, whatever the width of the terminal.
    target.rich_markup_mode = "markdown"
    # Typer gives every command it converts options for shell completion; the top level has them already.
    target._add_completion = False
    command: TyperCommand | TyperGroup = typer.main.get_command(target)  # type: ignore[assignment]
    command.name = name
    return command


class Command(TyperCommand):
    """A command that knows that what a person types as content may begin with '-'."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse options and arguments. Raises UsageMistake for content that was taken for an option."""
        from typer._click.exceptions import NoSuchOption  # the releases of Typer that we allow carry their own Click

        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            taken = error.option_name
            if taken.startswith("--") or all(it.metavar != "CONTENT" for it in self.params):
                raise
            raise UsageMistake(
                f"there is no option {taken}; if it begins the CONTENT, type -- before that, and options before the "
                f"--: `halter {self.name} … -- {taken}`"
            ) from None


class LazyGroup(TyperGroup):
    """A group that lists the commands of COMMANDS without importing them, and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=lazy.help, rich_help_panel=lazy.panel) for name, lazy in COMMANDS.items()
        }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command. Raises UsageMistake for an option that belongs behind it."""
        here = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        called = next((it for it in args if it in COMMANDS), None)
        first = args[0].partition("=")[0] if args else ""
        if called is not None and first.startswith("-") and first not in here | {"--"}:
            # The option's value stays unsaid: it may be a password.
            option = first if first.startswith("--") else first[:2]
            raise UsageMistake(
                f"{option}: expected the command first and its options behind it, found the option before "
                f"'{called}'; type `halter {called} … {option} …`"
            )
        return super().parse_args(ctx, args)

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
    try:
        main()
    except SystemExit as end:
        # Here: behind this block the error is let go, and with it Kafka clients, which wait for their threads.
        exit_at_once(end.code if isinstance(end.code, int) else bool(end.code))
    exit_at_once(0)


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
