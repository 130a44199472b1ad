"""The example: its file of events is what its generator writes, and its definitions are valid."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from halter.client.ids import new_id
from halter.demo.feed import BadFeed, read_feed
from halter.files.definition_files import InvalidDefinitions, read_definition_file
from halter.files.yaml_files import UnreadableFile
from halter.scenarios.definitions import register
from processors.codec import Codec
from processors.core.records.commands import PutWfSpec

CART = Path(__file__).parents[2] / "examples" / "cart"


def test_the_events_of_the_cart_are_what_its_generator_writes() -> None:
    written = subprocess.run([sys.executable, str(CART / "make_events.py")], capture_output=True, check=True).stdout
    assert written.decode() == (CART / "events.jsonl").read_text(encoding="utf-8")


def test_the_events_of_the_cart_are_thousands_with_everything_that_can_be_wrong() -> None:
    records = read_feed(CART / "events.jsonl", Codec.load())
    assert len(records) > 4_000
    assert any(record.key is None for record in records)
    assert any(record.value is None for record in records)
    assert any(record.partition is not None for record in records)
    assert max(len(record.value or b"") for record in records) > 256 * 1024


@pytest.mark.parametrize(
    "line", ["{", '{"topic": "external-events"}', '{"topic": "x", "record": "Nothing", "value": {}}']
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text((CART / "events.jsonl").read_text(encoding="utf-8").split("\n")[0] + "\n" + line + "\n")
    with pytest.raises(BadFeed, match=r"events\.jsonl:2: expected"):
        read_feed(file, Codec.load())


def test_the_definitions_of_the_cart_can_be_registered_in_their_order() -> None:
    _, problems = register(read_definition_file(CART / "cart.yaml").commands)
    assert problems == []


# Files of definitions.


def test_a_bare_wf_spec_document_is_a_file_of_definitions(tmp_path: Path) -> None:
    file = tmp_path / "nap.yaml"
    file.write_text(
        "name: nap\nentrypoint: main\nthreads: {main: {nodes: {a: {kind: ENTRYPOINT, next: b}, b: {kind: EXIT}}}}\n"
    )
    (command,) = read_definition_file(file).commands
    assert isinstance(command, PutWfSpec)
    assert command.name == json.loads(command.document)["name"] == "nap"


def test_a_wf_spec_may_be_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "nap.yaml").write_text(
        "name: nap\nentrypoint: main\nthreads: {main: {nodes: {a: {kind: ENTRYPOINT, next: b}, b: {kind: EXIT}}}}\n"
    )
    (tmp_path / "all.yaml").write_text("external_events: {wake: {}}\nwf_specs: [nap.yaml]\n")
    assert [command.name for command in read_definition_file(tmp_path / "all.yaml").commands] == ["wake", "nap"]


def test_all_problems_of_a_file_are_told_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "external_events:\n"
        "  wake: {type: WORD}\n"
        "tasks:\n"
        "  nap: {inputs: {}}\n"
        "wf_specs:\n"
        "  - name: nap\n"
        "    entrypoint: main\n"
        "    threads:\n"
        "      main:\n"
        "        nodes:\n"
        "          a: {kind: ENTRYPOINT, next: nowhere}\n"
        "          b: {kind: EXIT}\n"
    )
    with pytest.raises(InvalidDefinitions) as raised:
        read_definition_file(file)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[1] for line in lines][:2] == ["2", "4"]
    assert any(":11:" in line and "nowhere" in line for line in lines), lines


def test_a_file_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"nothing\.yaml: there is no such file"):
        read_definition_file(tmp_path / "nothing.yaml")


# Ids.


def test_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(1_000)]
    assert {uuid.UUID(it).version for it in ids} == {7}
    assert {uuid.UUID(it).variant for it in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == len(ids)
    assert [it[:13] for it in ids] == sorted(it[:13] for it in ids)
