"""Filters and places in lists: what people write, what a URL carries, and what is refused."""

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.view.filters import (
    ANY,
    HALT_KINDS,
    NAMES,
    STATUSES,
    WAITS,
    BadFilter,
    Sort,
    SortBy,
    WfRunFilter,
    duration_ms,
    duration_text,
    filter_of,
)
from halter.view.paging import BadCursor, Count, cursor, place_of
from processors.core.records.model import HaltReason

NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
NO_EDGES = NAME.filter(lambda it: it.strip() == it and it.lower() == it)
FILTERS = st.builds(
    WfRunFilter,
    status=st.lists(st.sampled_from(STATUSES), unique=True).map(tuple),
    wf_spec=st.none() | NAME,
    wf_spec_version=st.none() | st.sampled_from(["0", "1.2"]),
    halted_for=st.none() | st.sampled_from([*HALT_KINDS, ANY]),
    failed_with=st.none() | NAME.filter(lambda it: it.upper() != ANY) | st.just(ANY),
    waits_for=st.none() | st.sampled_from([*WAITS, "EXTERNAL_EVENT:paid", "TASK_REPORT:charge"]),
    older_than_ms=st.none() | st.integers(0, 10**9),
    unchanged_for_ms=st.none() | st.integers(0, 10**9),
    started_before_ms=st.none() | st.integers(0, 10**13),
    quarantined=st.none() | st.booleans(),
    variables=st.lists(st.tuples(NO_EDGES.filter(lambda it: "=" not in it), st.text("ab=,é", max_size=5))).map(tuple),
    text=st.none() | NO_EDGES,
)


@given(FILTERS.filter(lambda it: len(it.variables) <= 8))
def test_a_filter_is_the_same_behind_its_pairs(wanted: WfRunFilter) -> None:
    assert filter_of(wanted.pairs()) == wanted


def test_what_is_given_for_nothing_filters_nothing() -> None:
    assert filter_of([("status", ""), ("sort", "changed"), ("text", "  ")], ignore=["sort"]).is_empty


def test_values_may_be_written_as_people_write_them() -> None:
    found = filter_of(
        [("status", "running, error"), ("halted_for", "manual-halt"), ("waits-for", "external event:paid")]
    )
    assert found.status == ("RUNNING", "ERROR")
    assert (found.halted_for, found.waits_for) == ("MANUAL_HALT", "EXTERNAL_EVENT:paid")


def test_halt_reasons_are_those_of_the_core() -> None:
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", it.__name__).upper() for it in get_args(HaltReason)}
    assert set(HALT_KINDS) == names


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([("staus", "RUNNING")], r"filter: 'staus' is none; did you mean 'status'\?"),
        ([("status", "RUNING")], r"status: 'RUNING' is none; did you mean 'RUNNING'\?"),
        ([("status", "HALTING")], "status: 'HALTING' is none"),
        ([("halted-for", "x")], "halted-for: 'X' is none; there are PENDING_INTERRUPT"),
        ([("waits-for", "TIME:x")], "waits-for: expected a name only behind EXTERNAL_EVENT"),
        ([("older-than", "3 weeks")], "older-than: expected a duration such as 90s, 15m, 2h or 3d, found '3 weeks'"),
        ([("older-than", "-1h")], "older-than: expected a duration"),
        ([("wf-spec", "a"), ("wf-spec", "b")], "wf-spec: expected one value, found a second one, 'b'"),
        ([("version", "one")], "version: expected MAJOR or MAJOR.REVISION, found 'one'"),
        ([("started-before", "yesterday")], "started-before: expected milliseconds since 1970"),
        ([("quarantined", "maybe")], "quarantined: 'maybe' is none"),
        ([("var", "customer")], "var: expected NAME=VALUE, found 'customer'"),
        ([("var", f"v{n}=1") for n in range(9)], "var: expected at most 8 Variables, found 9"),
        ([("text", "x" * 257)], "text: expected at most 256 characters"),
        ([("text", "a\0b")], "text: expected at most 256 characters"),
    ],
)
def test_what_there_is_not_is_refused_with_a_sentence(pairs: list[tuple[str, str]], sentence: str) -> None:
    with pytest.raises(BadFilter, match=sentence):
        filter_of(pairs)


@given(st.lists(st.tuples(st.sampled_from([*NAMES, "x"]), st.text(max_size=40)), max_size=4))
def test_any_parameters_are_a_filter_or_a_sentence(pairs: list[tuple[str, str]]) -> None:
    try:
        made = filter_of(pairs)
    except BadFilter:
        return
    assert filter_of(made.pairs()) == made


def test_durations() -> None:
    assert [duration_ms("", it) for it in ("1ms", "90s", "15m", "2h", "3d", "1w")] == [
        1,
        90_000,
        900_000,
        7_200_000,
        259_200_000,
        604_800_000,
    ]
    assert [duration_text(it) for it in (0, 1, 90_000, 86_400_000, None)] == ["0s", "1ms", "90s", "1d", None]


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | NAME, max_size=4))
def test_a_cursor_names_its_place(place: list[Any]) -> None:
    assert list(place_of(cursor(place), [type(it) for it in place])) == place


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda it: it.decode("latin-1")))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="begin with the first page"):
        place_of(text, [int, str])


def test_a_cursor_of_another_list_is_refused() -> None:
    for text in (cursor([1]), cursor(["a", 1]), cursor([True, "a"]), cursor([2**63, "a"]), "[" * 3_000):
        with pytest.raises(BadCursor):
            place_of(text, [int, str])


def test_sorts_and_counts_in_words() -> None:
    assert Sort.of("Started", reverse=True) == Sort(SortBy.STARTED, reverse=True)
    with pytest.raises(BadFilter, match="sort: 'change' is none; did you mean 'changed'"):
        Sort.of("change")
    assert (str(Count(1_234, is_exact=True)), str(Count(10_000, is_exact=False))) == ("1,234", "10,000+")
