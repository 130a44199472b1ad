"""A view is of one installation, and rows of a WfRun that it begins with are of one moment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from halter.view.keeping import Keeper, OtherSource, Source
from halter.view.place import open_view
from halter.view.rows import NoRoom, Rows, SettledRows
from tests.support.views import CODEC, START_MS

OURS = Source(3, "shop-", "cluster-1", "a,b")


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Source(4, "shop-", "cluster-1", "a,b"), "partitions"),
        (Source(3, "other-", "cluster-1", "a,b"), "prefix"),
        (Source(3, "shop-", "cluster-2", "a,b"), "cluster"),
        (Source(3, "shop-", "cluster-1", "a,c"), "created again"),
    ],
)
def test_a_view_of_another_installation_is_refused(other: Source, named: str, tmp_path: Path) -> None:
    view = open_view(str(tmp_path / "view.db"), writable=True)
    keeper = Keeper(view, CODEC)
    assert keeper.begin(OURS, START_MS)
    keeper.ready()
    assert not Keeper(view, CODEC).begin(OURS, START_MS)
    with pytest.raises(OtherSource, match=named):
        Keeper(view, CODEC).begin(other, START_MS)
    with pytest.raises(OtherSource, match="with-masked"):
        Keeper(view, CODEC, with_masked=True).begin(OURS, START_MS)


def test_kafka_that_tells_no_ids_is_believed(tmp_path: Path) -> None:
    view = open_view(str(tmp_path / "view.db"), writable=True)
    keeper = Keeper(view, CODEC)
    keeper.begin(OURS, START_MS)
    keeper.ready()
    assert not Keeper(view, CODEC).begin(Source(3, "shop-"), START_MS)


def test_a_view_that_was_not_filled_to_the_end_begins_anew(tmp_path: Path) -> None:
    view = open_view(str(tmp_path / "view.db"), writable=True)
    assert Keeper(view, CODEC).begin(OURS, START_MS)
    assert Keeper(view, CODEC).begin(OURS, START_MS)


@pytest.fixture
def rows() -> Iterator[SettledRows]:
    it = SettledRows()
    yield it
    it.close()


def settled(rows: SettledRows) -> dict[bytes | None, dict[str, Rows]]:
    """Return the WfRuns that are settled, with their rows, by position."""
    return {position: dict(rows.rows_at(number)) for number, position in enumerate(rows.positions())}


def test_rows_are_settled_by_two_rounds_without_news(rows: SettledRows) -> None:
    """The first proves that whatever wrote a row also wrote the position, the second that nothing of it is missing."""
    rows.take([("wf-runs", b"quiet", b"1"), ("wf-runs", b"busy", b"1")])
    rows.end_round(b"p0")
    rows.take([("thread-runs", b"busy/0", b"2")])
    rows.end_round(b"p1")
    assert settled(rows) == {}
    rows.end_round(b"p2")
    assert settled(rows) == {b"p2": {"quiet": {("wf-runs", b"quiet"): b"1"}}}
    assert not rows.is_settled
    rows.end_round(b"p3")
    assert settled(rows)[b"p3"] == {"busy": {("wf-runs", b"busy"): b"1", ("thread-runs", b"busy/0"): b"2"}}
    assert rows.is_settled


def test_rows_behind_the_position_of_a_wf_run_are_left_to_the_log(rows: SettledRows) -> None:
    rows.take([("wf-runs", b"w", b"1")])
    for _ in range(3):
        rows.end_round(b"p")
    rows.take([("wf-runs", b"w", b"2")])
    assert rows.is_settled
    rows.end_round(b"q")
    assert settled(rows) == {b"p": {"w": {("wf-runs", b"w"): b"1"}}}


def test_a_tombstone_takes_a_row_away_and_the_last_row_of_a_key_counts(rows: SettledRows) -> None:
    rows.take([("thread-runs", b"w/1", b"1"), ("wf-runs", b"w", b"1")])
    rows.take([("wf-runs", b"w", b"2"), ("thread-runs", b"w/1", None)])
    rows.end(None)
    assert settled(rows) == {None: {"w": {("wf-runs", b"w"): b"2"}}}


def test_rows_for_which_there_is_no_room_are_a_sentence(rows: SettledRows) -> None:
    rows._rows.execute("PRAGMA max_page_count = 20")
    with pytest.raises(NoRoom, match="TMPDIR"):
        rows.take([("wf-runs", f"w{number}".encode(), bytes(4_000)) for number in range(50)])
