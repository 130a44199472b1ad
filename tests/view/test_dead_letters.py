"""Dead letters in a view: each is a row, a note that one was retried is none, and nobody can forge one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from halter.client.dead_letters import RETRIED_AS, RETRY_OF, as_dead_letter, is_note
from halter.transform import SourceRecord, TimestampType, dead_letter
from halter.view import dead_letter_lists
from halter.view.kafka import dead_letter_row, retry_row
from halter.view.keeping import Ends, Keeper, News, Source
from halter.view.place import VARIABLE, open_view
from halter.view.projection import Row
from processors.fold.inputs import DeadLetter, DeadLetterReason, InputRecord, MappingKind, dead_letter_record
from processors.kafka.topics_file import load_topics
from tests.support.command_line import halter
from tests.support.views import CODEC, START_MS


class Record:
    """What is read of a message of `dead-letters`."""

    def __init__(self, offset: int, headers: Any, key: bytes | None = b"cart-1", value: bytes | None = b"x") -> None:
        self._told = offset, headers, key, value

    def offset(self) -> int:
        return self._told[0]

    def headers(self) -> Any:
        return list(self._told[1])

    def key(self) -> bytes | None:
        return self._told[2]

    def value(self) -> bytes | None:
        return self._told[3]

    def partition(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, START_MS + self._told[0]


def message(offset: int, headers: Any, **more: Any) -> Message:
    record: Any = Record(offset, headers, **more)
    return record  # type: ignore[no-any-return]


def letter(offset: int, *headers: tuple[str, bytes]) -> Message:
    record = InputRecord("external-events", 0, offset + 100, START_MS, b"cart-1", b"x", headers)
    made = dead_letter_record(record, DeadLetter(DeadLetterReason.UNDECODABLE, "it is junk"))
    return message(offset, made.headers)


NOTE = message(7, [(RETRY_OF, b"0@3"), (RETRIED_AS, b"external-events/2/9"), ("halter.operator", b"anna")], value=None)
FORGED = ((RETRY_OF, b"0@1"), (RETRIED_AS, b"external-events/2/9"))


def test_a_note_says_which_dead_letter_was_retried() -> None:
    assert retry_row(NOTE) == {"partition": 0, "letter_offset": 3, "last_outcome": "external-events[2]@9 by anna"}
    assert as_dead_letter(NOTE) is None


def test_a_record_with_headers_of_a_note_is_a_dead_letter_all_the_same() -> None:
    forged = letter(4, *FORGED)
    assert retry_row(forged) is None
    read = as_dead_letter(forged)
    assert read is not None
    assert (read.name, read.headers, read.source) == ("0@4", FORGED, "external-events[0]@104")
    assert not is_note(forged.headers() or ())  # type: ignore[arg-type]  # they are pairs


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A view with five dead letters, of which one was retried."""
    retry = retry_row(NOTE)
    assert retry is not None
    file = kept(tmp_path, [dead_letter_row(letter(it)) for it in range(5)], retry)
    monkeypatch.setenv(VARIABLE, str(file))
    return file


def kept(folder: Path, rows: list[Row], *retries: Row) -> Path:
    """Return a view that has these dead letters."""
    file = folder / "view.db"
    writable = open_view(str(file), writable=True)
    keeper = Keeper(writable, CODEC, with_masked=False)
    keeper.begin(Source(partitions=1, cluster="in-memory"), START_MS)
    ends = {0: Ends(0, 8, 0, START_MS, START_MS)}
    keeper.write(News(dead_letters=rows, retries=list(retries), ends=ends))
    keeper.ready()
    writable.close()
    return file


def test_a_view_knows_which_dead_letters_were_retried(view: Path) -> None:
    opened = open_view(str(view))
    with opened.read() as connection:
        retried = dead_letter_lists.dead_letters(connection, retried=True)
        assert [(it.name, it.last_outcome) for it in retried.lines] == [("0@3", "external-events[2]@9 by anna")]
        left, after = [], None
        while True:
            page = dead_letter_lists.dead_letters(connection, retried=False, after=after, limit=3)
            left += [it.offset for it in page.lines]
            after = page.after
            if after is None:
                break
        assert left == [4, 2, 1, 0]
    opened.close()


def test_they_are_listed(view: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = halter(capsys, "dead-letters", "list", "--not-retried", "-n", "2")
    assert code == 0
    heading, first, second = out.splitlines()
    assert heading.split() == ["Place", "Reason", "From", "WfRun", "Since", "Retried", "Message"]
    assert first.startswith("0@4")
    assert first.endswith("no       it is junk")
    assert second.startswith("0@2")
    told = json.loads(halter(capsys, "dead-letters", "list", "--retried", "--json")[1])
    assert [it["offset"] for it in told["dead_letters"]] == [3]
    code, out, err = halter(capsys, "dead-letters", "list", "--reason", "SKIPPED")
    assert (code, out) == (0, "")
    assert "there is no such dead letter in the view" in err
    (view.parent / "empty").mkdir()
    empty = str(kept(view.parent / "empty", []))
    assert "there is no dead letter in the view" in halter(capsys, "dead-letters", "list", "--view", empty)[2]


def test_those_of_bindings_and_sinks_are_told_by_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = load_topics(Path(__file__).parents[2] / "topics.yaml", "", 1)
    rows = [dead_letter_row(letter(1))]
    for offset, name, topic, kind in (
        (2, "paid", "orders", MappingKind.BINDING),
        (3, "changes", "wf-events", MappingKind.SINK),
    ):
        record = SourceRecord(topic, 0, offset, START_MS, TimestampType.CREATE_TIME, b"cart-1", b"{", ())
        made = dead_letter(topics, name, record, "UNCOMPUTABLE", "it has no value", kind)
        rows.append(dead_letter_row(message(offset, made.headers)))
    monkeypatch.setenv(VARIABLE, str(kept(tmp_path, rows)))
    code, out, _ = halter(capsys, "dead-letters", "list")
    assert code == 0
    lines = [re.split(" {2,}", it)[:4] for it in out.splitlines()[1:]]
    assert lines == [
        ["0@3", "UNCOMPUTABLE", "sink changes", "cart-1"],
        ["0@2", "UNCOMPUTABLE", "binding paid", "-"],
        ["0@1", "UNDECODABLE", "external-events", "cart-1"],
    ]
    told = json.loads(halter(capsys, "dead-letters", "list", "--mapping", "paid", "--json")[1])
    assert [(it["origin"], it["mapping"]) for it in told["dead_letters"]] == [("BINDING", "paid")]
    stats = json.loads(halter(capsys, "stats", "--json")[1])
    assert {name: it["count"] for name, it in stats["dead_letters_from"].items()} == dict.fromkeys(
        ("BINDING", "SINK", "WORKER"), 1
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--reason", "UNDECODEABLE"), "no dead letter has the reason 'UNDECODEABLE'; did you mean 'UNDECODABLE'?"),
        (("--topic", "external-event"), "did you mean 'external-events'?"),
        (("--mapping", "paid"), "no dead letter has the binding or sink 'paid'"),
    ],
)
def test_a_name_that_no_dead_letter_has_is_told(
    view: Path, options: tuple[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = halter(capsys, "dead-letters", "list", *options)
    assert (code, out) == (0, "")
    assert sentence in " ".join(err.split())


def test_a_record_of_nobody_of_us_is_a_row_all_the_same() -> None:
    huge = ("halter.topic", b"x"), ("halter.partition", b"9" * 30), ("halter.offset", b"1")
    row = dead_letter_row(message(5, huge))
    assert (row["source_partition"], row["origin"], row["wf_run_id"]) == (None, "WORKER", "cart-1")
    assert dead_letter_row(message(6, ()))["reason"] == "UNKNOWN"


@pytest.mark.parametrize("place", ["3", "@", "3@x", "-1@2", "3@1e3", "٣@1"])
def test_a_place_is_a_partition_and_an_offset(capsys: pytest.CaptureFixture[str], place: str) -> None:
    code, _, err = halter(capsys, "dead-letters", "show", "--", place)
    assert code == 2
    assert "expected PARTITION@OFFSET such as 3@1041" in " ".join(err.split())
