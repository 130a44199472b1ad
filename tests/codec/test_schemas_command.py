"""`halter schemas`: the schemas for people of every language."""

import json
from pathlib import Path

import fastavro
import pytest
from click.testing import Result
from typer.testing import CliRunner

from halter.cli.schemas import FolderNotEmpty, UnknownRecord, app
from processors.codec.schemas import fingerprint_of
from processors.core.records.errors import HalterError
from tests.support.records import SCHEMAS


def halter_schemas(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_list_has_every_record_with_its_topics_and_fingerprint() -> None:
    rows = {row["name"]: row for row in json.loads(halter_schemas("list", "--json").output)}
    assert set(rows) == set(SCHEMAS.records)
    assert rows["ExternalEvent"]["topics"] == ["external-events"]
    assert rows["Halt"]["topics"] == ["wf-events"]
    assert all(row["topics"] for row in rows.values())
    assert rows["Halt"]["fingerprint"] == SCHEMAS.records["Halt"].fingerprint.hex()
    text = halter_schemas("list")
    assert text.exit_code == 0
    assert "ExternalEvent" in text.output


def test_show_prints_a_schema_that_stands_alone() -> None:
    schema = json.loads(halter_schemas("show", "ThreadRun").output)
    assert schema == SCHEMAS.records["ThreadRun"].schema
    fastavro.parse_schema(schema)


def test_show_helps_with_a_misspelt_name() -> None:
    error = halter_schemas("show", "ExternalEvents").exception
    assert isinstance(error, UnknownRecord)
    assert str(error) == "expected the name of a record, found 'ExternalEvents': did you mean 'ExternalEvent'?"


def test_export_writes_schemas_and_fingerprints(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert f"{len(SCHEMAS.records)} schemas in" in halter_schemas("export", str(folder)).output
    assert {file.stem for file in folder.glob("*.avsc")} == set(SCHEMAS.records)
    fingerprints = json.loads((folder / "fingerprints.json").read_text())
    assert fingerprints == {name: record.fingerprint.hex() for name, record in SCHEMAS.records.items()}


def test_export_has_every_schema_that_a_record_may_be_written_with(tmp_path: Path) -> None:
    told = halter_schemas("export", str(tmp_path)).output
    files = list(tmp_path.rglob("*.avsc"))
    exported = [fingerprint_of(json.loads(file.read_text())) for file in files]
    known = {it.fingerprint for it in SCHEMAS.records.values()}
    released = {it.fingerprint for version in SCHEMAS.versions for it in SCHEMAS.released(version).values()}
    assert set(exported) == known | released
    assert len(exported) == len(set(exported))
    assert told == f"{len(known)} schemas in {tmp_path}, and {len(released - known)} of earlier releases\n"


def test_export_does_not_mix_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert isinstance(halter_schemas("export", str(tmp_path)).exception, FolderNotEmpty)
    assert halter_schemas("export", str(tmp_path), "--overwrite").exit_code == 0


@pytest.mark.parametrize("place", ["file", "file/folder"])
def test_export_to_a_place_that_is_no_folder_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    error = halter_schemas("export", str(tmp_path / place)).exception
    assert isinstance(error, HalterError)
    assert str(error).startswith("cannot write schemas to")
