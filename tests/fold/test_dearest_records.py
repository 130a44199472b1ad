"""No record is dear: its cost is linear in its size and in the number of events that it brings about.

Costs are counted in bytecodes, which are the same on every machine, and in processor time, which also sees calls into
C. The largest records may take a generous time, because CI is not quiet; `make fuzz` counts them too.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from processors.core.records.commands import DefinitionKind, DeleteDefinition, PutTaskDef, PutWfSpec
from processors.core.records.events import Definition, DefinitionVersion
from processors.core.records.model import WfSpecId
from processors.core.records.values import ValueProblem
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.json_document import parse_json_document
from processors.core.wf_spec.near_names import COMPARISONS_MAX
from processors.core.wf_spec.reader import without_texts
from tests.support import dear_wf_runs
from tests.support.bytecodes import bytecodes
from tests.support.dear_documents import FAMILIES, largest, name_of, text_of
from tests.support.shard_rig import ShardRig

FAR = "HALTER_DEAREST" in os.environ
"""True if the largest records are counted, which takes minutes."""
BYTECODES_PER_BYTE = 150
"""Limit for reading a document. A valid one takes some 50."""
GUESSES = 300 * COMPARISONS_MAX
"""Cost of finding what was probably meant, up to the limit of the search."""
GROWTH = 1.25
"""Factor by which a byte, an event or a thread may cost more in a record that is several times as large."""
LARGEST = 960
"""Number of threads, or of other things. With all that comes with them, the limits are near."""
SECONDS = 2.0
"""Limit of processor time for the largest possible record: twenty times as much as on a quiet machine."""


def put(document: str) -> Callable[[], object]:
    """Return the fold of a PutWfSpec, ready to be called."""
    rig = ShardRig()
    record = rig.command(PutWfSpec("w", document))
    return lambda: rig.turn(record)


@pytest.mark.parametrize("family", FAMILIES, ids=name_of)
def test_a_document_costs_in_proportion_to_its_size(family: Callable[[int], Any]):
    size = largest(family)
    ends = (size // 4, size) if FAR else (size // 64, size // 16)
    texts = [text_of(family, end) for end in ends]
    small, large = (bytecodes(put(text)) for text in texts)
    assert large <= GUESSES + BYTECODES_PER_BYTE * what_it_says(texts[1])
    assert large <= GUESSES + GROWTH * small * len(texts[1]) / len(texts[0])


def what_it_says(document: str) -> int:
    """Return the size of a document with trees for the texts of expressions, which say as much in far fewer bytes."""
    try:
        return len(json.dumps(without_texts(parse_json_document(document)), separators=(",", ":")))
    except ValueProblem:
        return len(document)


@pytest.mark.parametrize("family", FAMILIES, ids=name_of)
def test_the_largest_document_holds_nobody_up(family: Callable[[int], Any]):
    document = put(text_of(family, largest(family)))
    started = time.process_time()
    document()
    assert time.process_time() - started < SECONDS


REVISIONS = 20_000


def revised() -> Definitions:
    """Return definitions with an ExternalEventDef, a TaskDef and a WfSpec that have very many revisions."""
    definitions = Definitions()
    document = text_of(lambda _: {"name": "w", "entrypoint": "main", "threads": {"main": {"nodes": TAKES}}}, 0)
    for revision in range(REVISIONS):
        events = {"e": DefinitionVersion(0, revision)} if revision else {}
        tasks = {"t": DefinitionVersion(0, revision)} if revision else {}
        definitions.apply(Definition(DefinitionKind.EXTERNAL_EVENT_DEF, "e", 0, revision))
        definitions.apply(Definition(DefinitionKind.TASK_DEF, "t", 0, revision))
        definitions.apply(
            Definition(
                DefinitionKind.WF_SPEC,
                "w",
                0,
                revision,
                document=document,
                external_event_defs=events,
                task_defs=tasks,
            )
        )
    return definitions


TAKES = {
    "s": {"kind": "ENTRYPOINT", "next": "a"},
    "a": {"kind": "EXTERNAL_EVENT", "event": "e", "next": "t"},
    "t": {"kind": "TASK", "task": "t", "next": "e"},
    "e": {"kind": "EXIT"},
}
LOOKUPS: dict[str, Callable[[Definitions], object]] = {
    "the newest ExternalEventDef": lambda known: known.external_event_def("e"),
    "the one that a WfSpec binds": lambda known: known.external_event_def("e", WfSpecId("w", 0, 5)),
    "the one that an old WfSpec binds": lambda known: known.external_event_def("e", WfSpecId("w", 0, 0)),
    "the newest TaskDef": lambda known: known.task_def("t"),
    "the TaskDef that a WfSpec binds": lambda known: known.task_def("t", WfSpecId("w", 0, 5)),
    "the TaskDef that an old WfSpec binds": lambda known: known.task_def("t", WfSpecId("w", 0, 0)),
    "the newest WfSpec": lambda known: known.latest_wf_spec("w"),
    "the newest of a major version": lambda known: known.latest_wf_spec("w", 0),
    "an exact version": lambda known: known.latest_wf_spec("w", 0, 7),
    "none": lambda known: known.latest_wf_spec("w", 1),
    "the revision of the next": lambda known: known.last_revision(WfSpecId("w", 0, 1)),
}


def test_revisions_are_not_looked_through():
    definitions = revised()
    for what, look in LOOKUPS.items():
        look(definitions)
        started = time.process_time()
        for _ in range(200):
            look(definitions)
        assert time.process_time() - started < 0.05, what


def test_a_deletion_does_not_look_through_all_nodes():
    rig, wf_specs = ShardRig(), 20
    rig.turn(PutTaskDef("unused"))
    for number in range(wf_specs):
        rig.turn(PutWfSpec(f"w{number}", text_of(FAMILIES[-2], 500).replace('"w"', f'"w{number}"')))
    for _ in range(2):
        record = rig.command(DeleteDefinition(DefinitionKind.TASK_DEF, "unused"))
        counted = bytecodes(lambda record=record: rig.turn(record))
    assert counted < 5_000 + 100 * wf_specs, counted


ALL_KINDS = (*dear_wf_runs.KINDS, *dear_wf_runs.MIGRATIONS)


@pytest.mark.parametrize("kind", ALL_KINDS, ids=dear_wf_runs.name_of)
def test_a_record_costs_in_proportion_to_what_it_brings_about(kind: dear_wf_runs.Kind):
    for size in (60, 240) if FAR else (90,):
        cost = dear_wf_runs.cost_of(kind, size)
        assert cost.bytecodes <= cost.bound, cost


@pytest.mark.parametrize("kind", ALL_KINDS, ids=dear_wf_runs.name_of)
def test_a_record_for_the_largest_wf_run_holds_nobody_up(kind: dear_wf_runs.Kind):
    cost = dear_wf_runs.cost_of(kind, LARGEST if FAR else LARGEST // 4, timed=True)
    assert cost.seconds < SECONDS * cost.units, cost


@pytest.mark.parametrize("kind", dear_wf_runs.KINDS, ids=dear_wf_runs.name_of)
def test_so_does_any_other_record_for_such_a_wf_run(kind: dear_wf_runs.Kind):
    others = list(dear_wf_runs.OTHERS)
    place = dear_wf_runs.KINDS.index(kind) % len(others)
    for other in others if FAR else others[place : place + 1]:
        cost = dear_wf_runs.cost_of(kind, 40, other=other)
        assert cost.bytecodes <= cost.bound, (other, cost)
