"""`halter scenario`: runs scenario documents, in memory or on Kafka, and prints the verdicts."""

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.connection import (
    CONNECT_SECONDS,
    PANEL,
    ConnectTimeout,
    Prefix,
    Properties,
    PropertiesFile,
    TopicsFile,
    load_settings,
    reach,
)
from halter.cli.ending import exit_on_sigterm
from halter.cli.usage import BadOptions

if TYPE_CHECKING:
    from halter.scenarios.files import FileVerdict
    from processors.kafka.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Test WfSpecs with scenario documents.")


@app.callback()
def scenario() -> None:
    """Test WfSpecs with scenario documents.

    A scenario has definitions, records that arrive, and what must be so afterwards.
    """


@app.command("run", epilog="Example: `halter scenario run tests/*.yaml`. Exit code 1 if any scenario failed.")
def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario documents, YAML or JSON.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap",
            "-b",
            metavar="HOST:PORT",
            help="Run the scenarios on this Kafka. Without it they run in memory.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    properties_file: PropertiesFile = None,
    properties: Properties = None,
    prefix: Prefix = None,
    topics_file: TopicsFile = None,
    connect_timeout: ConnectTimeout = CONNECT_SECONDS,
) -> None:
    """Run scenario documents and print a verdict for each.

    By default each scenario runs in memory, on an engine of its own, in milliseconds. It needs no Kafka and no clock.

    With --bootstrap the scenarios run on that Kafka, with a real worker, and get the same verdicts. Each gets topics
    of its own under a prefix of its own, which are removed afterwards. The step 'crash' is then a kill -9 of the
    worker.

    Each file gets one line: 'ok', or 'FAILED' with what was expected and what was found. A failure also shows the log
    up to there.
    """
    if bootstrap is None:
        others = {"--properties": properties_file, "--property": properties, "--prefix": prefix}
        given = [name for name, value in {**others, "--topics-file": topics_file}.items() if value]
        if given:
            raise BadOptions(f"{', '.join(given)}: only for scenarios on Kafka; add --bootstrap, or leave this out")
        found = in_memory(files)
    else:
        settings = load_settings(bootstrap, properties_file, properties, prefix, topics_file=topics_file)
        reach(settings, connect_timeout)
        found = on_kafka(files, settings)
    verdicts = []
    # However this ends, the topics on Kafka are removed before the process ends.
    with closing(found):
        for verdict in found:
            verdicts.append(verdict)
            if not as_json:
                typer.echo("\n".join(lines(verdict)))
    if as_json:
        typer.echo(json.dumps([as_data(verdict) for verdict in verdicts], indent=2, ensure_ascii=False))
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


def in_memory(files: Sequence[Path]) -> Generator["FileVerdict", None, None]:
    """Run the scenarios of some files in memory, and yield their verdicts."""
    from halter.scenarios.files import run_file

    yield from map(run_file, files)


def on_kafka(files: Sequence[Path], settings: "Settings") -> Generator["FileVerdict", None, None]:
    """Run the scenarios of some files on Kafka, and yield their verdicts. SIGTERM removes everything, then ends it."""
    from halter.scenarios.files import read_file
    from halter.scenarios.kafka.judge import KafkaJudge, workers_needed

    exit_on_sigterm()
    read = [read_file(file) for file in files]
    workers = sum(workers_needed(it.scenario) for it in read if it.scenario is not None)
    with KafkaJudge(settings, workers) as judge:
        for file in read:
            yield file.judged_by(judge)


def lines(verdict: "FileVerdict") -> list[str]:
    """Return the lines to print for a file."""
    if verdict.ok:
        return [f"ok      {verdict.file}"]
    return [
        *(f"FAILED  {problem}" for problem in verdict.problems),
        *(f"        {line}" for line in verdict.log),
    ]


def as_data(verdict: "FileVerdict") -> dict[str, Any]:
    """Return what `--json` prints for a file."""
    from dataclasses import asdict

    return {
        "file": verdict.file,
        "ok": verdict.ok,
        "name": verdict.name,
        "steps": verdict.steps,
        "problems": [asdict(problem) for problem in verdict.problems],
        "log": list(verdict.log),
    }
