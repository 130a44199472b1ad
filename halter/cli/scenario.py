"""`halter scenario`: runs scenario documents, in memory or on Kafka, and makes them of histories."""

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.client import Unmask
from halter.cli.connection import (
    CONNECT_SECONDS,
    PANEL,
    Cluster,
    ConnectTimeout,
    Kafka,
    Prefix,
    Properties,
    PropertiesFile,
    TopicsFile,
    asks_kafka,
    load_settings,
    reach,
)
from halter.cli.ending import exit_on_sigterm
from halter.cli.given import moment, to_write
from halter.cli.history import MOMENT, Utc, explaining, zone_of
from halter.cli.printing import note
from halter.cli.source import File, WfRun, chosen, expect_id, source
from halter.cli.usage import BadOptions, in_utf8
from halter.show.counting import counted
from processors.extras import expect_extra

if TYPE_CHECKING:
    from halter.history.scenario_check import Made
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
        expect_extra("engine", "`halter scenario run --bootstrap`")
        settings = load_settings(Cluster(bootstrap, properties_file, properties, prefix), topics_file=topics_file)
        found = on_kafka(files, settings, connect_timeout)
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


@app.command("from-history")
@asks_kafka
def from_history(
    wf_run_id: WfRun = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write. Default: standard output.", callback=to_write
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SEQ|TIME|-N",
            help=f"End with the input that led to this moment: {MOMENT}. Default: the last.",
            callback=moment,
        ),
    ] = None,
    by_event: Annotated[
        bool, typer.Option("--by-event", help="Also expect, after each input, the events that came of it.")
    ] = False,
    shrink: Annotated[
        bool, typer.Option("--shrink", help="Drop inputs, values and threads of the WfSpec that do not matter for it.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="WHAT",
            help="Expect only this at the end, in place of everything: 'thread 0 is ERROR CHILD_FAILED', "
            "'WfRun is ERROR', 'e2 is UNCLAIMED', or fields of the step expect in YAML. May be repeated.",
            callback=in_utf8,
        ),
    ] = None,
    utc: Utc = False,
    unmask: Unmask = False,
    file: File = None,
    *,
    kafka: Kafka,
) -> None:
    """Write a scenario document of what happened to a WfRun.

    It has the definitions that were in force, the inputs that were recorded, and expects what came of them: statuses,
    failures, Variables, what became of ExternalEvents. In place of masked values it has tokens, which are equal where
    the values are.

    - `halter scenario from-history cart-1 -o cart-1.yaml`
    - `halter scenario from-history cart-1 --to 57 -o cart-1.yaml`
    - `halter scenario from-history --file incident.halter --shrink --keep 'thread 0 is ERROR' -o cart-1.yaml`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    from tempfile import TemporaryDirectory

    from halter.history.scenario_check import made, write
    from halter.history.scenario_of import Wanted

    if shrink and by_event:
        raise BadOptions("--shrink: expected no --by-event beside it, which expects every event of every input")
    expect_id(file, wf_run_id)
    if keep:
        from halter.history.shrinking import check_keep

        for wanted in keep:
            check_keep(wanted)
    with (
        source(file, kafka) as found,
        TemporaryDirectory() as folder,
    ):
        wf_run_id = chosen(found, wf_run_id)
        with explaining(found, wf_run_id):
            told = made(found, wf_run_id, Path(folder), Wanted(by_event, to, zone_of(utc=utc)), unmask=unmask)
        where = found.where
    if keep or shrink:
        told = _smaller(told, keep or (), shrink=shrink)
    text = write(told, where, output)
    if output is None:
        typer.echo(text, nl=False)
    for sentence in told.draft.notes:
        note(sentence)
    if told.masked:
        note("tokens stand in the place of masked values; --unmask leaves them as they are")
    if told.problem is not None:
        note(f"these rules give something else than was recorded, so the scenario fails: {told.problem}")
    if output is not None:
        note(f"wrote {counted(len(told.draft.given), 'step')} to {output}; `halter scenario run {output}` runs them")


def _smaller(told: "Made", keep: Sequence[str], *, shrink: bool) -> "Made":
    """Return a document that expects what is to be kept, and has little else."""
    from dataclasses import replace

    from halter.history.shrinking import TRIES_MAX, kept, shrunk

    draft = kept(told.draft, keep) if keep else told.draft
    if shrink:
        before = len(draft.given)
        result = shrunk(draft)
        draft = result.draft
        note(f"left {counted(len(draft.given), 'step')} of {before:,}, after {result.tries:,} tries")
        if result.tries >= TRIES_MAX:
            note("stopped at this number of tries: it may become smaller still, give it --shrink again")
    return replace(told, draft=draft)


def in_memory(files: Sequence[Path]) -> Generator["FileVerdict", None, None]:
    """Run the scenarios of some files in memory, and yield their verdicts."""
    from halter.scenarios.files import run_file

    yield from map(run_file, files)


def on_kafka(files: Sequence[Path], settings: "Settings", seconds: float) -> Generator["FileVerdict", None, None]:
    """Run the scenarios of some files on Kafka, once it answers, and yield their verdicts.

    SIGTERM removes everything, then ends it. If no file is a scenario, Kafka is not asked.
    """
    from halter.scenarios.files import read_file

    read = [read_file(file) for file in files]
    if all(it.scenario is None for it in read):
        yield from (it.unreadable for it in read if it.unreadable is not None)
        return
    reach(settings, seconds)
    from halter.scenarios.kafka.judge import KafkaJudge, workers_needed

    exit_on_sigterm()
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
