"""`halter schemas list | show | export`: the Avro schemas of the topics, for every language. Needs no Kafka.

`halter schemas register` puts them into a Schema Registry.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halter.cli.connection import Properties, PropertiesFile, load_settings
from processors.errors import HalterError

if TYPE_CHECKING:
    from processors.codec import RecordSchema

app = typer.Typer(no_args_is_help=True, help="List, print, export and register the Avro schemas of the topics.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class UnknownRecord(HalterError):
    """There is no schema of that name. Whoever asked looks at `halter schemas list`."""


class FolderNotEmpty(HalterError):
    """An export does not mix with other files. Whoever asked names an empty folder, or passes --overwrite."""


@app.command("list", epilog="Example: `halter schemas list --json`.")
def list_schemas(as_json: Json = False) -> None:
    """List every record: its topics, its fingerprint as records carry it after C3 01, and what it is."""
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
    """Print the schema of one record, self-contained: every Avro library takes it as it is."""
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
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; made if it is not there.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write to a folder that has files.")] = False,
) -> None:
    """Write the schema of every record, self-contained, as DIR/<record>.avsc, and DIR/fingerprints.json."""
    from processors.codec import Schemas

    schemas = Schemas.load()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(folder.iterdir()):
            raise FolderNotEmpty(
                f"expected an empty folder, found files in {folder}: name another, or pass --overwrite"
            )
        schemas.export(folder)
    except OSError as error:
        raise HalterError(f"cannot write schemas to {folder}: {error}") from error
    typer.echo(f"{len(schemas.records)} schemas in {folder}")


@app.command("register", epilog="Example: `KAFKA_SCHEMA_REGISTRY_URL=http://localhost:8081 halter schemas register`.")
def register_schemas(
    properties_file: PropertiesFile = None, properties: Properties = None, as_json: Json = False
) -> None:
    """Put the schemas of all records that are no state into the Schema Registry, and print their ids.

    For installations where workers and clients may not do that (HALTER_REGISTER_SCHEMAS=false). What is there already
    stays as it is. The registry is that of schema.registry.url, KAFKA_SCHEMA_REGISTRY_URL.
    """
    from halter.registry import register
    from processors.codec import Schemas

    registry = load_settings(None, properties_file, properties).registry(registers=True)
    registered = dict(register(Schemas.load(), registry))
    if as_json:
        typer.echo(json.dumps(registered, indent=2))
        return
    for subject, schema_id in registered.items():
        typer.echo(f"{schema_id:>6}  {subject}")
    typer.echo(f"{len(registered)} schemas at {registry.url}")


def topics_by_record(records: "Mapping[str, RecordSchema]") -> dict[str, list[str]]:
    """Record name -> topics that it is found on, as topics.yaml has them; `events/*` names a folder of schemas."""
    from processors.topics import Topics

    topics = Topics.load().all
    return {
        name: [topic.declared_name for topic in topics if name in topic.values or f"{record.folder}/*" in topic.values]
        for name, record in records.items()
    }
