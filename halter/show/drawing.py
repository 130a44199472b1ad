"""Draws the ThreadSpecs of a WfSpec: where each node, edge and label stands, for whoever writes SVG.

Each ThreadSpec is a drawing of its own. What starts another ThreadSpec names it: an interrupt, a failure handler, a
START_THREAD. So a WfSpec of many ThreadSpecs is as wide as its widest one, and fits a phone.
"""

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from halter.show.diagram_text import edge_lines, interrupt_line, node_lines, starts_of, variable_line
from halter.show.layers import NODES_MAX, Box, Link, Size, place
from processors.core.records.spec import (
    AnyNode,
    EntrypointNode,
    ExitNode,
    NopNode,
    StartMultipleThreadsNode,
    StartThreadNode,
    ThreadSpec,
    WfSpec,
)

MARGIN: Final = 14.0
LETTER: Final = 6.7
"""Width of a letter of a node's lines, in pixels, as the style has it."""
SMALL_LETTER: Final = 5.9
LINE: Final = 15.0
NODE_TEXT_MAX: Final = 34
LABEL_TEXT_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node: its shape, its lines, and where it stands (its left top corner, its size)."""

    name: str
    kind: str
    shape: str
    lines: Sequence[str]
    x: float
    y: float
    width: float
    height: float
    starts: Sequence[tuple[str, str]] = ()
    """The ThreadSpecs that it starts, each with the reason."""


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """An edge: its path, the lines of its label, and where the label stands."""

    source: str
    target: str
    path: str
    tip: str
    lines: Sequence[str]
    x: float
    y: float
    label_width: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A ThreadSpec as a drawing. `nodes` and `edges` have no places if it is too large to draw (`drawn` is False)."""

    name: str
    entry: bool
    drawn: bool
    width: float
    height: float
    nodes: Sequence[DrawnNode]
    edges: Sequence[DrawnEdge]
    variables: Sequence[str]
    interrupts: Sequence[tuple[str, str]]
    """The words for each interrupt, and its handler."""
    started_by: Sequence[str] = field(default=())
    """The ThreadSpecs that start it."""


def drawings(wf_spec: WfSpec) -> list[Drawing]:
    """The drawings of all ThreadSpecs, the entrypoint's first."""
    threads = sorted(wf_spec.threads.values(), key=lambda it: it.name != wf_spec.entrypoint)
    started_by: dict[str, list[str]] = {}
    for thread in threads:
        handlers = [it.handler for it in thread.interrupts]
        for name in dict.fromkeys([*handlers, *(started for _, started, _ in starts_of(thread))]):
            started_by.setdefault(name, []).append(thread.name)
    return [_drawing(it, wf_spec, started_by) for it in threads]


def _drawing(thread: ThreadSpec, wf_spec: WfSpec, started_by: Mapping[str, Sequence[str]]) -> Drawing:
    nodes = sorted(thread.nodes.values(), key=lambda it: it.name != thread.entrypoint)
    number = {it.name: at for at, it in enumerate(nodes)}
    lines = [[_cut(text, NODE_TEXT_MAX) for text in (it.name, *node_lines(it))] for it in nodes]
    edges = [(node, edge, edge_lines(edge, at, node)) for node in nodes for at, edge in enumerate(node.edges)]
    labels = [[_cut(text, LABEL_TEXT_MAX) for text in words] for _, _, words in edges]
    is_drawn = len(nodes) <= NODES_MAX
    starts: dict[str, list[tuple[str, str]]] = {}
    for source, started, reason in starts_of(thread):
        starts.setdefault(source, []).append((started, reason))
    if is_drawn:
        links = [
            Link(number[node.name], number[edge.to], _size(words, SMALL_LETTER, 6, 4) if words else Size(0, 0))
            for (node, edge, _), words in zip(edges, labels, strict=True)
        ]
        placed = place([_size(it, LETTER, 26, 14) for it in lines], links)
        boxes, label_boxes, ways = placed.nodes, placed.labels, placed.ways
        width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    else:
        boxes, label_boxes, ways = [Box(0, 0, 0, 0)] * len(nodes), [Box(0, 0, 0, 0)] * len(edges), [()] * len(edges)
        width = height = 0.0
    return Drawing(
        name=thread.name,
        entry=thread.name == wf_spec.entrypoint,
        drawn=is_drawn,
        width=round(width, 1),
        height=round(height, 1),
        nodes=[
            DrawnNode(
                name=node.name,
                kind=_kind(node),
                shape=_shape(node),
                lines=words,
                x=round(box.x - box.width / 2 + MARGIN, 1),
                y=round(box.y - box.height / 2 + MARGIN, 1),
                width=round(box.width, 1),
                height=round(box.height, 1),
                starts=tuple(starts.get(node.name, ())),
            )
            for node, words, box in zip(nodes, lines, boxes, strict=True)
        ],
        edges=[
            DrawnEdge(
                node.name,
                edge.to,
                _path(way),
                _tip(way),
                words,
                round(box.x + MARGIN, 1),
                round(box.y + MARGIN, 1),
                round(box.width, 1),
            )
            for (node, edge, _), words, box, way in zip(edges, labels, label_boxes, ways, strict=True)
        ],
        variables=[variable_line(it) for it in thread.variables.values()],
        interrupts=[(interrupt_line(it).removeprefix("interrupt "), it.handler) for it in thread.interrupts],
        started_by=tuple(started_by.get(thread.name, ())),
    )


def _kind(node: AnyNode) -> str:
    """The kind of a node as documents name it: TASK, EXTERNAL_EVENT, …"""
    name = type(node).__name__.removesuffix("Node")
    return "".join(f"_{it}" if it.isupper() and at else it for at, it in enumerate(name)).upper()


def _shape(node: AnyNode) -> str:
    match node:
        case EntrypointNode():
            return "start"
        case ExitNode():
            return "fails" if node.failure_name else "exit"
        case NopNode():
            return "nop"
        case StartThreadNode() | StartMultipleThreadsNode():
            return "starts"
        case _:
            return "task" if _kind(node) == "TASK" else "waits"


def _size(lines: Sequence[str], letter: float, wide: float, tall: float) -> Size:
    return Size(max(map(_letters, lines), default=0) * letter + wide, len(lines) * LINE + tall)


def _letters(text: str) -> int:
    """How many letters wide a text is: those of East Asia take two."""
    return sum(2 if unicodedata.east_asian_width(it) in "WF" else 1 for it in text)


def _cut(text: str, most: int) -> str:
    shown = "".join(it if it.isprintable() else " " for it in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A smooth path through points: it leaves and enters each of them straight."""
    if not points:
        return ""
    shifted = [(round(x + MARGIN, 1), round(y + MARGIN, 1)) for x, y in points]
    path = [f"M{shifted[0][0]:g} {shifted[0][1]:g}"]
    for (x1, y1), (x2, y2) in itertools.pairwise(shifted):
        if x1 == x2:
            path.append(f"L{x2:g} {y2:g}")
        else:
            bend = round((y1 + y2) / 2, 1)
            path.append(f"C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y2:g}")
    return "".join(path)


def _tip(points: Sequence[tuple[float, float]]) -> str:
    """The head of an edge's arrow."""
    if not points:
        return ""
    x, y = round(points[-1][0] + MARGIN, 1), round(points[-1][1] + MARGIN, 1)
    up = -7 if points[-1][1] >= points[-2][1] else 7
    return f"M{x:g} {y:g}l-4 {up}h8z"
