"""`halter bind`: checks a document of bindings, shows what records become, and posts that."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.client import Json, Unmask
from halter.cli.connection import Kafka, Partitions, TopicsFile, asks_kafka, load_settings, patience, waiting_for_kafka
from halter.cli.ending import ending_on_sigterm
from halter.cli.known_definitions import DefinitionsOption, definitions_in, registered, registered_now
from halter.cli.printing import print_json, print_line
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
from halter.cli.usage import BadOptions
from halter.show.counting import counted

if TYPE_CHECKING:
    from halter.bindings.files import BindingsFile
    from halter.bindings.mapping import BindingMapping
    from halter.transform import SourceRecord
    from processors.core.wf_spec.definitions import Definitions
    from processors.kafka.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Make ExternalEvents of the records of your topics.")
File = Annotated[Path, typer.Argument(metavar="FILE", help="The document of bindings, YAML or JSON.")]


@app.callback()
def bind() -> None:
    """Make ExternalEvents of the records of your topics.

    A document of bindings says which topics, in which format, and what their records become (docs/bindings.md).
    """


@app.command(
    "check",
    epilog="Exit code 1 if the document has a problem, or a sample record would be a dead letter.",
)
@asks_kafka
def check(
    file: File,
    sample: Annotated[
        Path | None,
        typer.Option(
            "--sample",
            metavar="FILE",
            help="Records to try: JSON lines (.jsonl; '-' reads them from standard input; 'kcat -J' prints them), or a "
            "file with the bytes of one value.",
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option("--topic", metavar="TOPIC", help="The topic of sample records that name none.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="The key of sample records that have none.")
    ] = None,
    definitions: DefinitionsOption = None,
    as_json: Json = False,
    unmask: Unmask = False,
    *,
    kafka: Kafka,
) -> None:
    """Check a document of bindings, and show what sample records become. Writes nothing.

    Each problem comes with its line and column. Names and types are checked against the definitions that are
    registered, and topics against those of the cluster, if Kafka answers; or names and types against --definitions.

    - `halter bind check bindings.yaml`
    - `halter bind check bindings.yaml --definitions cart.yaml --sample orders.jsonl`
    - `kcat -b localhost:9092 -C -t orders -c 20 -J | halter bind check bindings.yaml --sample -`
    """
    if sample is None and (topic is not None or key is not None):
        raise BadOptions("--topic and --key are about sample records: add --sample FILE, or leave them out")
    settings = load_settings(kafka)
    read = read_file(file, settings)
    read.check_topics(settings.topics())
    against, known, there = "no definitions", None, None
    if definitions:
        against, known = ", ".join(map(str, definitions)), definitions_in(definitions)
    elif not read.problems and (known := registered_now(kafka, settings)) is not None:
        from halter.transform.topics import topics_there

        against, there = f"the definitions and topics at {settings.bootstrap}", topics_there(settings)
    if known is not None:
        read.check_against(known)
    # Whether a topic is there says nothing about what records become.
    mapping = mapping_of(read, settings, known) if sample is not None and not read.problems else None
    if there is not None:
        read.check_topics_exist(settings, there)
    if not as_json:
        for line in problem_lines(read) or [f"{read.file}: ok, {contents(read)}, checked against {against}"]:
            print_line(line)
    ok, told = not read.problems, list[dict[str, Any]]()
    if sample is not None and mapping is not None:
        from halter.bindings.samples import read_samples

        samples = read_samples(sample, read.bindings, topic, key)
        ok = tell(mapping, (it.record for it in samples), told if as_json else None, unmask=unmask) and ok
    if as_json:
        problems = [asdict(problem) for problem in read.problems]
        print_json({"file": read.file, "ok": ok, "checked_against": against, "problems": problems, "records": told})
    if not ok:
        raise typer.Exit(1)


def mapping_of(read: "BindingsFile", settings: "Settings", known: "Definitions | None") -> "BindingMapping":
    """Return the mapping of a document that checks against definitions, if there are any."""
    mapping = read.mapping(settings.topics(), settings.codec())
    if known is not None:
        mapping.follow(known, None)
    return mapping


def tell(
    mapping: "BindingMapping", records: "Iterable[SourceRecord]", told: list[dict[str, Any]] | None, *, unmask: bool
) -> bool:
    """Print what records become, or add it to `told`. Return False if one is a dead letter."""
    from halter.bindings.telling import Counts, Telling

    telling, counts = Telling(mapping, unmask=unmask), Counts()
    for record in records:
        mapped = mapping.mapped(record)
        counts.add(mapped)
        if told is not None:
            told.append(telling.data(record, mapped))
        else:
            for line in telling.lines(record, mapped):
                print_line(line)
    if told is None:
        print_line(counts.line())
    return counts.dead_letters == 0


@app.command("run", epilog="With --dry-run, exit code 1 if a record would be a dead letter.")
@asks_kafka
def run(
    file: File,
    dry_run: DryRun = False,
    last: Last = None,
    since: Since = None,
    limit: Limit = None,
    as_json: Json = False,
    unmask: Unmask = False,
    *,
    process: Process,
    running: Running,
    kafka: Kafka,
    partitions: Partitions = None,
    topics_file: TopicsFile = None,
) -> None:
    """Post the ExternalEvents that the records of the topics become, until SIGTERM or Ctrl-C.

    Each record has its effects exactly once. Start it several times to share the partitions of the topics. --dry-run
    shows what records become, by the definitions that are registered, and ends.

    - `halter bind run bindings.yaml`
    - `halter bind run bindings.yaml --from now --slot $HOSTNAME --log-format json`
    - `halter bind run bindings.yaml --dry-run --last 20`
    - `halter bind run bindings.yaml --dry-run --from 2026-11-30T12:00:00 --limit 1000`
    """
    if not dry_run:
        expect_nothing_dry(last=last, limit=limit, json=as_json, unmask=unmask)
        since_ms = since_typed(since or EARLIEST)
        running.begin()
        post(
            load_settings(kafka, partitions=partitions, topics_file=topics_file, logs=True),
            file,
            process,
            running,
            since_ms,
            kafka.connect_timeout,
        )
        return
    dry = Dry.of(last, since, limit)
    settings = load_settings(kafka, partitions=partitions, topics_file=topics_file)
    read = read_file(file, settings)
    known = None
    if not read.problems:
        with registered(settings, kafka.connect_timeout, must_answer=True) as client:
            assert client is not None
            known = client.definitions()
        read.check_against(known)
    mapping = mapping_of(read, settings, known)
    told = list[dict[str, Any]]()
    ok = tell(mapping, dry.records(settings, mapping.sources), told if as_json else None, unmask=unmask)
    if as_json:
        print_json(
            {"file": read.file, "ok": ok, "checked_against": settings.bootstrap, "problems": [], "records": told}
        )
    if not ok:
        raise typer.Exit(1)


def post(
    settings: "Settings", file: Path, process: Process, running: Running, since_ms: int | None, connect_timeout: float
) -> None:
    """Post what the records of the topics become, until a signal."""
    from halter.bindings.files import InvalidBindings
    from halter.client import Client

    read = read_file(file, settings)
    if read.problems:  # whoever mistyped a file hears it without a Kafka
        raise InvalidBindings(read.problems)
    with Client.of(settings) as client:
        with ending_on_sigterm(), patience():
            with waiting_for_kafka(settings, connect_timeout):
                client.reach(connect_timeout, to_send=False)
            known = client.definitions()
        read.check_against(known)
        mapping = read.mapping(client.topics, client.codec)
        mapping.follow(known, client.definitions_position)

        def refresh() -> bool:
            before = client.definitions_position
            definitions = client.definitions()
            if client.definitions_position == before:
                return False
            mapping.follow(definitions, client.definitions_position)
            return True

        run_mapping(
            process, running, settings, client.topics, mapping,
            kind="bindings", name=read.bindings.name, since_ms=since_ms, refresh=refresh,
        )  # fmt: skip


def read_file(file: Path, settings: "Settings") -> "BindingsFile":
    """Return a document of bindings. If a Schema Registry is set, its schemas come from there."""
    from halter.bindings.files import read_bindings_file
    from processors.kafka.properties import REGISTRY_PREFIX

    has_registry = f"{REGISTRY_PREFIX}url" in settings.properties
    return read_bindings_file(file, settings.registry(registers=False) if has_registry else None)


def problem_lines(read: "BindingsFile") -> list[str]:
    """Return the problems of a document, a line for each."""
    return [f"{problem} [{problem.code}]" for problem in read.problems]


def contents(read: "BindingsFile") -> str:
    """Return how much is in a document, in words."""
    bindings = read.bindings
    events = sum(1 for it in bindings.bindings for _ in it.all_events())
    return (
        f"{counted(len(bindings.bindings), 'binding')} of {counted(len(bindings.topics), 'topic')} to "
        f"{counted(events, 'ExternalEvent')}"
    )
