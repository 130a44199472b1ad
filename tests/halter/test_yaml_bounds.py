"""No small YAML file becomes a large document, and none takes more time or memory than its length explains."""

import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.files import scenario_document, yaml_files
from halter.files.scenario_document import read_scenario
from halter.files.yaml_files import UnreadableFile, parse_yaml
from processors.kafka import yaml_fields
from processors.kafka.errors import TopicsFileError
from processors.kafka.topics_file import TopicsFile
from processors.kafka.yaml_fields import Reader
from tests.support.odd_documents import DOCUMENTS

SIZE = 5_000
CPU_SECONDS_MAX = 10.0
"""For twice SIZE, with everything counted: forty times what it takes alone."""
BYTES_PER_BYTE_MAX = 1_000


def as_file(text: str) -> object:
    return parse_yaml(text, "f").data


def as_topics(text: str) -> object:
    return TopicsFile(Path("f"), "", None).read(text)


READERS: dict[str, Callable[[str], object]] = {"yaml_files": as_file, "topics.yaml": as_topics}


def outcome(read: Callable[[str], object], text: str) -> Any:
    """The data that is read; None if the text is refused with a sentence."""
    try:
        return read(text)
    except (UnreadableFile, TopicsFileError):
        return None


def steps_of(read: Callable[[str], object], text: str) -> int:
    """The number of function calls, which is the same in every run."""
    count = 0

    def called(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(called)
    try:
        outcome(read, text)
    finally:
        sys.setprofile(None)
    return count


def peak_of(read: Callable[[str], object], text: str) -> int:
    tracemalloc.start()
    try:
        outcome(read, text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LOOKED_AHEAD = {"open lists", "open mappings", "JSON that is deep"}
"""PyYAML's parser in Python looks 1,024 characters ahead before it finds them too deep: a second, at any size."""


@pytest.mark.parametrize(
    ("reader", "name"),
    [(reader, name) for reader in READERS for name in DOCUMENTS if reader == "yaml_files" or name not in LOOKED_AHEAD],
)
def test_time_and_memory_are_linear_in_the_length_of_a_file(reader: str, name: str) -> None:
    read, small, large = READERS[reader], DOCUMENTS[name](SIZE), DOCUMENTS[name](2 * SIZE)
    began = time.process_time()
    assert steps_of(read, large) <= 3 * steps_of(read, small) + 100_000
    assert peak_of(read, large) <= BYTES_PER_BYTE_MAX * len(large)
    assert time.process_time() - began < CPU_SECONDS_MAX


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_file_becomes_is_bounded(name: str) -> None:
    read = outcome(as_file, DOCUMENTS[name](20 * SIZE))
    values, text = written_out(read)
    assert values <= yaml_files.NODES_MAX
    assert text <= yaml_files.FILE_BYTES_MAX


def written_out(data: Any) -> tuple[int, int]:
    """The numbers of values and characters, shared ones counted each time. Counting ends at far too many."""
    values = text = 0
    left = [data]
    while left and values < 10_000_000:
        value = left.pop()
        values += 1
        if isinstance(value, str):
            text += len(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += [*value, *value.values()]
    return values, text


@st.composite
def documents_with_aliases(draw: st.DrawFn) -> str:
    """Lists, mappings and merges of what stands above them."""
    lines = [f"n0: &n0 {draw(st.sampled_from(['x' * 20, '[a, b, c]', '{k: v, l: w}']))}"]
    for number in range(1, draw(st.integers(1, 9))):
        above = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=5))
        names = [f"*n{it}" for it in above]
        form = draw(st.sampled_from(["[{}]", "{{k: [{}]}}", "{{<<: [{}]}}", "{{<<: {0}, m: {0}}}", "{{{0} : 1}}"]))
        value = form.format(names[0] if "0" in form else ", ".join(names))
        lines.append(f"n{number}: &n{number} {value}")
    return "\n".join(lines)


@settings(max_examples=100, deadline=None)
@given(text=documents_with_aliases())
def test_whatever_refers_to_whatever_it_is_measured_before_it_is_built(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (yaml_files, yaml_fields):
            patch.setattr(module, "FILE_BYTES_MAX", 1_000)
        patch.setattr(yaml_files, "NODES_MAX", 100)
        patch.setattr(yaml_fields, "VALUES_MAX", 100)
        values, characters = written_out(outcome(as_file, text))
        assert (values <= 2 * 100 + 10, characters <= 1_000) == (True, True)  # `values` counts keys too
        try:
            reader = Reader(text, Path("f"))
            field = reader.field()
        except (TopicsFileError, yaml_fields.yaml.YAMLError):
            return
        assert sum(1 for _ in fields_in(field)) <= 100


def fields_in(field: yaml_fields.Field) -> Any:
    yield field
    inner: Any = field.value
    for it in inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ():
        yield from fields_in(it)


def test_rounds_of_a_scenario_are_bounded_in_text_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario_document, "BYTES_MAX", 1_000)
    event = {"event": {"wf": "w", "name": "e", "id": "{n}", "content": "x" * 60}}
    repeated: Any = {"repeat": {"times": 10, "steps": [event]}}
    assert problems_of([repeated]) == []
    for steps in (
        [{"repeat": {"times": 1_000, "steps": [event]}}],
        [{"repeat": {"times": 2, "steps": [repeated]}}],
        [repeated, repeated],
    ):
        assert "bytes of text with all rounds written out" in problems_of(steps)[0]


def problems_of(steps: list[Any]) -> list[str]:
    _, problems = read_scenario({"name": "it", "steps": steps}, lambda _: {})
    return [str(it) for it in problems]


def test_a_document_is_named_once() -> None:
    loaded: list[str] = []

    def load(name: str) -> object:
        loaded.append(name)
        return {}

    _, problems = read_scenario({"name": "it", "wf_specs": ["a.yaml"] * 100, "steps": [{"crash": None}]}, load)
    assert len(problems) == 99
    assert "wf_specs[1]: expected each WfSpec document once, found 'a.yaml' again" in str(problems[0])
    assert loaded == ["a.yaml"]
