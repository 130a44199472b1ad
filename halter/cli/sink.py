"""`halter sink check` and `halter sink run`: what happens to WfRuns becomes JSON on a topic of the user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from halter.cli.client import Json
from halter.cli.connection import Kafka, Partitions, TopicsFile, asks_kafka, load_settings, patience, waiting_for_kafka
from halter.cli.ending import ending_on_sigterm
from halter.cli.known_definitions import DefinitionsOption, definitions_in, registered_now
from halter.cli.printing import note, print_json, print_line
from halter.cli.running_options import Running
from halter.cli.transforming import (
    EARLIEST,
    Dry,
    DryRun,
    Last,
    Limit,
    Process,
    Since,
    expect_nothing_dry,
    run_mapping,
    since_typed,
)

if TYPE_CHECKING:
    from halter.files.yaml_files import Problem
    from halter.sinks.mapping import SinkMapping
    from processors.kafka.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Write what happens to WfRuns to a topic of yours, as JSON.")
File = Annotated[Path, typer.Argument(metavar="FILE", help="The document of the sink, YAML or JSON.")]


@app.callback()
def sink() -> None:
    """Write what happens to WfRuns to a topic of yours, as JSON.

    A document says which events, to which topic, and in which form (docs/sinks.md).
    """


@app.command("check")
@asks_kafka
def check(file: File, definitions: DefinitionsOption = None, *, kafka: Kafka) -> None:
    """Check the document of a sink. Each problem comes with its line and column.

    Names of WfSpecs and Variables are checked against the definitions that are registered, and the topic against those
    of the cluster, if Kafka answers; or names against --definitions. Writes nothing.

    - `halter sink check sink.yaml`
    - `halter sink check sink.yaml --definitions cart.yaml`
    - `halter sink check sink.yaml --bootstrap localhost:9092`
    """
    from halter.sinks.files import InvalidSink, read_sink_file
    from halter.transform.topics import does_not_exist, topics_there

    settings = load_settings(kafka)
    problems, against = [], "no definitions"
    try:
        read = read_sink_file(file, settings.topics())
    except InvalidSink as invalid:
        end_with(invalid.problems)
    sink = read.sink
    if definitions:
        against = ", ".join(map(str, definitions))
        problems += read.unknown(definitions_in(definitions))
    elif (known := registered_now(kafka, settings)) is not None:
        against = f"the definitions and topics at {settings.bootstrap}"
        problems += read.unknown(known)
        there = topics_there(settings)
        if sink.topic not in there:
            missing = does_not_exist(sink.topic, settings, there)
            problems.append(read.located(("topic",), missing, "TOPIC_MISSING"))
    if problems:
        end_with(problems)
    of = "all WfSpecs" if sink.wf_specs is None else ", ".join(sorted(sink.wf_specs))
    events = ", ".join(sorted(sink.events))
    print_line(f"{file}: ok, {events} of {of} to topic '{sink.topic}', checked against {against}")


def end_with(problems: "Sequence[Problem]") -> NoReturn:
    """Print the problems of a document, which are the result of a check, and end with exit code 1."""
    for problem in sorted(problems, key=lambda it: (it.line, it.column)):
        print_line(f"{problem} [{problem.code}]")
    raise typer.Exit(1)


@app.command("run", epilog="With --dry-run, exit code 1 if an event would be a dead letter.")
@asks_kafka
def run(
    file: File,
    dry_run: DryRun = False,
    last: Last = None,
    since: Since = None,
    limit: Limit = None,
    as_json: Json = False,
    *,
    process: Process,
    running: Running,
    kafka: Kafka,
    partitions: Partitions = None,
    topics_file: TopicsFile = None,
) -> None:
    """Run a sink until SIGTERM or Ctrl-C. Each event is written exactly once, those of a WfRun in their order.

    Start it several times to share the partitions of the log. --dry-run shows what events of the log become, and ends.

    - `halter sink run sink.yaml`
    - `halter sink run sink.yaml --from now --slot $HOSTNAME --log-format json`
    - `halter sink run sink.yaml --dry-run --last 20`
    """
    import structlog

    from halter.client import Client
    from halter.sinks.files import read_sink_file
    from halter.sinks.mapping import SinkMapping
    from halter.sinks.wf_specs import WfSpecsOfRuns

    dry = Dry.of(last, since, limit) if dry_run else None
    if dry is None:
        expect_nothing_dry(last=last, limit=limit, json=as_json)
        running.begin()
    since_ms = since_typed(since or EARLIEST)
    settings = load_settings(kafka, partitions=partitions, topics_file=topics_file, logs=not dry_run)
    read = read_sink_file(file, settings.topics())
    with Client.of(settings) as client:
        with ending_on_sigterm(), patience():
            with waiting_for_kafka(settings, kafka.connect_timeout):
                client.reach(kafka.connect_timeout, to_send=False)
            unknown = read.unknown(client.definitions())
        wf_specs = WfSpecsOfRuns(client.reader, client.topics, client.codec)
        mapping = SinkMapping(read.sink, wf_specs, client.definitions, client.topics, client.codec)
        if dry is not None:
            for problem in unknown:
                note(str(problem))
            show(mapping, dry, settings, as_json=as_json)
            return
        for problem in unknown:
            structlog.get_logger("halter.sinks").warning("not_registered", problem=str(problem))
        run_mapping(
            process,
            running,
            settings,
            client.topics,
            mapping,
            kind="sinks",
            name=read.sink.name,
            since_ms=since_ms,
            begins=mapping.begins,
        )


def show(mapping: "SinkMapping", dry: Dry, settings: "Settings", *, as_json: bool) -> None:
    """Print what events of the log become. Exit code 1 if one would be a dead letter."""
    from halter.sinks import telling

    topics = settings.topics()
    mapping.begins([(topics.wf_events, partition) for partition in range(topics.partitions)])
    counts, told = telling.Counts(), []
    for record in dry.records(settings, mapping.sources):
        outputs = mapping.outputs(record)
        counts.add(outputs, topics.dead_letters)
        if as_json:
            told.append(telling.data(record, outputs, topics.dead_letters))
        else:
            for line in telling.lines(record, outputs, topics.dead_letters):
                print_line(line)
    if as_json:
        print_json({"ok": not counts.dead_letters, "events": told})
    else:
        print_line(counts.line())
    if counts.dead_letters:
        raise typer.Exit(1)
