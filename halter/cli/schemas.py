"""`halter schemas list | show | export | register | document`: the Avro schemas of the records, for programs in any
language, and the JSON Schemas of documents, for editors.

Only `register` connects to something: the Schema Registry. None of them needs Kafka.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.client import Json
from halter.cli.connection import Cluster, Properties, PropertiesFile, load_settings
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from processors.codec import RecordSchema

app = typer.Typer(no_args_is_help=True, help="Print the Avro schemas of the topics, and JSON Schemas of documents.")


class UnknownRecord(HalterError):
    """No schema has that name. Whoever asked looks at `halter schemas list`."""


class UnknownDocument(HalterError):
    """No document has that name. Whoever asked looks at `halter schemas document`."""


class FolderNotEmpty(HalterError):
    """The folder to export to has files. Whoever asked names an empty folder, or passes --overwrite."""


@app.command("list", epilog="Example: `halter schemas list --json`.")
def list_schemas(as_json: Json = False) -> None:
    """List every schema: its topics, its fingerprint, and what the record is.

    An Avro record begins with the bytes C3 01 and this fingerprint.
    """
    from processors.codec import Schemas

    records = Schemas.load().records
    topics = topics_by_record(records)
    if as_json:
        rows = [
            {
                "name": name,
                "folder": record.folder,
                "topics": topics[name],
                "fingerprint": record.fingerprint.hex(),
                "doc": record.schema["doc"],
            }
            for name, record in records.items()
        ]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("record", "topics", "fingerprint", "what it is"):
        table.add_column(heading, overflow="fold")
    for name, record in records.items():
        first, _, _ = record.schema["doc"].partition(". ")
        table.add_row(name, ", ".join(topics[name]), record.fingerprint.hex(), first.rstrip("."))
    Console().print(table)


@app.command("show", epilog="Example: `halter schemas show ExternalEvent > ExternalEvent.avsc`.")
def show_schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a record, e.g. ExternalEvent.")],
) -> None:
    """Print the schema of one record. It is self-contained: every Avro library can use it as it is."""
    from processors.codec import Schemas

    records = Schemas.load().records
    record = records.get(name)
    if record is None:
        from difflib import get_close_matches

        close = get_close_matches(name, records, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else "`halter schemas list` shows them"
        raise UnknownRecord(f"expected the name of a record, found '{name}': {hint}")
    typer.echo(record.text, nl=False)


@app.command("export", epilog="Example: `halter schemas export build/avro`.")
def export_schemas(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to. It is created if needed.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write even if the folder has files.")] = False,
) -> None:
    """Write every schema to a folder, as DIR/RECORD.avsc, and their fingerprints as DIR/fingerprints.json.

    A record that has nothing new is written with the schema of the last release. Those that differ from today's are in
    DIR/released, for readers.
    """
    from processors.codec import Schemas

    schemas = Schemas.load()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(folder.iterdir()):
            raise FolderNotEmpty(
                f"expected an empty folder, found files in {folder}: name another folder, or pass --overwrite"
            )
        schemas.export(folder)
        released = schemas.export_released(folder)
    except OSError as error:
        raise HalterError(f"cannot write schemas to {folder}: {error}") from error
    typer.echo(f"{len(schemas.records)} schemas in {folder}, and {released} of earlier releases")


@app.command("register", epilog="Example: `KAFKA_SCHEMA_REGISTRY_URL=http://localhost:8081 halter schemas register`.")
def register_schemas(
    properties_file: PropertiesFile = None, properties: Properties = None, as_json: Json = False
) -> None:
    """Register the schemas in the Schema Registry and print their ids.

    Use it where workers and clients may not register schemas (HALTER_REGISTER_SCHEMAS=false). Schemas that are already
    registered stay as they are. Schemas of state topics are left out. The property schema.registry.url, or the
    variable KAFKA_SCHEMA_REGISTRY_URL, says where the registry is.
    """
    from halter.client.registry import register
    from processors.codec import Schemas

    registry = load_settings(Cluster(None, properties_file, properties)).registry(registers=True)
    registered = dict(register(Schemas.load(), registry))
    if as_json:
        typer.echo(json.dumps(registered, indent=2))
        return
    for subject, schema_id in registered.items():
        typer.echo(f"{schema_id:>6}  {subject}")
    typer.echo(f"{len(registered)} schemas at {registry.url}")


@app.command("document", epilog="Example: `halter schemas document definitions > definitions.schema.json`.")
def show_document(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The kind of document. Without it, all kinds are listed.")
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of document, with which editors complete and check it.

    In YAML, the first line '# yaml-language-server: $schema=definitions.schema.json' names it (docs/editors.md).
    """
    from halter.cli.document_schemas import WHAT, schema_text

    if name is None:
        width = max(map(len, WHAT))
        for known, what in WHAT.items():
            typer.echo(f"{known:<{width}}  {what}")
        return
    if name not in WHAT:
        from processors.core.wf_spec.near_names import NearNames

        meant = NearNames().meant_or_known(name, WHAT)
        raise UnknownDocument(f"expected the name of a kind of document{meant}, found {name!r}")
    typer.echo(schema_text(name), nl=False)


def topics_by_record(records: "Mapping[str, RecordSchema]") -> dict[str, list[str]]:
    """Return record name -> the topics that hold it, by their names in topics.yaml.

    In topics.yaml `events/*` stands for all schemas of that folder.
    """
    from processors.kafka.topics_file import load_topics

    topics = load_topics().all
    return {
        name: [topic.declared_name for topic in topics if name in topic.values or f"{record.folder}/*" in topic.values]
        for name, record in records.items()
    }
