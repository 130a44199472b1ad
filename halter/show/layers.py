"""Places the nodes and edges of a directed graph in layers, from the top down. It knows no WfSpec and no SVG.

Every edge goes through the layer between those of its nodes, where its label stands, and has a place of its own in all
layers that it crosses: so no label covers a node. The order within a layer is found by barycenters, as Sugiyama's
method does. The same graph is always placed the same way.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

NODE_GAP: Final = 28.0
"""Least space between two boxes of a layer, in pixels."""
LAYER_GAP: Final = 18.0
"""Space between a layer of nodes and the layer of labels below it, in pixels."""
APART: Final = 14.0
"""How far from the middle of a node an edge that leads back ends at least, in pixels: the others end in the middle."""
SWEEPS: Final = 6
"""How often the order is improved, down and up."""
NODES_MAX: Final = 400
"""Most nodes that are drawn: a larger graph is a list."""


@dataclass(frozen=True, slots=True)
class Size:
    """The width and height of a box, in pixels."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """An edge: from one node to another, and the size of its label."""

    source: int
    target: int
    label: Size = Size(0, 0)


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node or a label stands: its centre, and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Placed:
    """Where everything is: nodes and labels in the order in which they were given, and the points of each edge."""

    width: float
    height: float
    nodes: Sequence[Box]
    labels: Sequence[Box]
    ways: Sequence[Sequence[tuple[float, float]]]


@dataclass(slots=True)
class _Place:
    """A node, a label, or a point through which an edge goes."""

    size: Size
    layer: int
    above: list["_Place"] = field(default_factory=list)
    below: list["_Place"] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    order: float = 0.0


def place(sizes: Sequence[Size], links: Sequence[Link]) -> Placed:
    """Place nodes, of which the first stands at the top, and their edges."""
    layers = _layers_of(len(sizes), links)
    places = [_Place(size, 2 * layer) for size, layer in zip(sizes, layers, strict=True)]
    rows: list[list[_Place]] = [[] for _ in range(2 * max(layers, default=0) + 2)]
    for it in places:
        rows[it.layer].append(it)
    chains = [_chain(link, places, rows) for link in links]
    _put_in_order(rows)
    width = _spread(rows)
    height = _stack(rows)
    boxes = [Box(it.x, it.y, it.size.width, it.size.height) for it in places]
    labels = [Box(it.x, it.y, it.size.width, it.size.height) for _, it in chains]
    ways = [_way(link, chain, places) for link, (chain, _) in zip(links, chains, strict=True)]
    return Placed(width, height, boxes, labels, ways)


def _layers_of(nodes: int, links: Sequence[Link]) -> list[int]:
    """The layer of each node: one below the lowest node that leads to it. Edges that lead back do not count."""
    out: dict[int, list[int]] = {}
    for link in links:
        out.setdefault(link.source, []).append(link.target)
    back, order = _search(nodes, out)
    layers = [0] * nodes
    for node in order:
        for target in out.get(node, ()):
            if (node, target) not in back:
                layers[target] = max(layers[target], layers[node] + 1)
    return layers


def _search(nodes: int, out: Mapping[int, Sequence[int]]) -> tuple[set[tuple[int, int]], list[int]]:
    """The edges that lead back, found depth first, and the nodes in topological order without them."""
    back: set[tuple[int, int]] = set()
    open_: set[int] = set()
    done: list[int] = []
    seen: set[int] = set()
    for root in range(nodes):
        if root in seen:
            continue
        seen.add(root)
        open_.add(root)
        stack = [(root, iter(out.get(root, ())))]
        while stack:
            node, rest = stack[-1]
            target = next(rest, None)
            if target is None:
                stack.pop()
                open_.discard(node)
                done.append(node)
            elif target in open_:
                back.add((node, target))
            elif target not in seen:
                seen.add(target)
                open_.add(target)
                stack.append((target, iter(out.get(target, ()))))
    return back, done[::-1]


def _chain(link: Link, places: Sequence[_Place], rows: list[list[_Place]]) -> tuple[list[_Place], _Place]:
    """Give an edge a place in each layer that it crosses. Returns these from the top down, and that of its label."""
    source, target = places[link.source], places[link.target]
    top, bottom = (source, target) if source.layer <= target.layer else (target, source)
    first, last = top.layer + 1, max(bottom.layer - 1, top.layer + 1)
    labelled = first if source is top else last
    chain = [_Place(link.label if it == labelled else Size(0, 0), it) for it in range(first, last + 1)]
    for it in chain:
        rows[it.layer].append(it)
    whole = [top, *chain] if top.layer == bottom.layer else [top, *chain, bottom]
    for upper, lower in itertools.pairwise(whole):
        upper.below.append(lower)
        lower.above.append(upper)
    return chain, chain[labelled - first]


def _put_in_order(rows: Sequence[list[_Place]]) -> None:
    for row in rows:
        for index, it in enumerate(row):
            it.order = float(index)
    for _ in range(SWEEPS):
        for row in rows[1:]:
            _sort(row, above=True)
        for row in rows[-2::-1]:
            _sort(row, above=False)


def _sort(row: list[_Place], *, above: bool) -> None:
    def middle(it: _Place) -> float:
        near = it.above if above else it.below
        return sum(other.order for other in near) / len(near) if near else it.order

    row.sort(key=middle)
    for index, it in enumerate(row):
        it.order = float(index)


def _spread(rows: Sequence[Sequence[_Place]]) -> float:
    """Give each place its x: near the middle of its neighbours, and apart from those beside it."""
    for row in rows:
        x = 0.0
        for it in row:
            it.x = x + it.size.width / 2
            x += it.size.width + NODE_GAP
        for it in row:
            it.x -= (x - NODE_GAP) / 2
    for sweep in range(8):
        for row in rows if sweep % 2 else rows[::-1]:
            wanted = []
            for it in row:
                near = (it.above or it.below) if sweep % 2 else (it.below or it.above)
                wanted.append(sum(other.x for other in near) / len(near) if near else it.x)
            _settle(row, wanted)
    left = min((it.x - it.size.width / 2 for row in rows for it in row), default=0.0)
    right = max((it.x + it.size.width / 2 for row in rows for it in row), default=0.0)
    for row in rows:
        for it in row:
            it.x -= left
    return right - left


def _settle(row: Sequence[_Place], wanted: Sequence[float]) -> None:
    """Move a row to where it is wanted, as nearly as its gaps allow: the mean of packing it from either side."""
    lefts: list[float] = []
    for it, x in zip(row, wanted, strict=True):
        before = row[len(lefts) - 1] if lefts else None
        least = x if before is None else lefts[-1] + (before.size.width + it.size.width) / 2 + NODE_GAP
        lefts.append(max(x, least))
    rights: list[float] = []
    for it, x in zip(row[::-1], wanted[::-1], strict=True):
        after = row[::-1][len(rights) - 1] if rights else None
        most = x if after is None else rights[-1] - (after.size.width + it.size.width) / 2 - NODE_GAP
        rights.append(min(x, most))
    for it, left, right in zip(row, lefts, rights[::-1], strict=True):
        it.x = (left + right) / 2


def _stack(rows: Sequence[Sequence[_Place]]) -> float:
    """Give each row its y. Returns the whole height."""
    y = 0.0
    rows = rows if any(rows[-1]) else rows[:-1]
    for number, row in enumerate(rows):
        height = max((it.size.height for it in row), default=0.0)
        for it in row:
            it.y = y + height / 2
        y += height
        if number < len(rows) - 1:
            y += LAYER_GAP
    return y


def _way(link: Link, chain: Sequence[_Place], places: Sequence[_Place]) -> list[tuple[float, float]]:
    """The points of an edge, from where it leaves a node to where it enters another.

    It goes straight down, or up, behind its label: what is seen of it above and below the label is then one line.
    """
    source, target = places[link.source], places[link.target]
    half = source.size.height / 2, target.size.height / 2
    points = [
        (it.x, y)
        for it in chain
        for y in ((it.y - it.size.height / 2, it.y + it.size.height / 2) if it.size.height else (it.y,))
    ]
    if source.layer < target.layer:
        return [(source.x, source.y + half[0]), *points, (target.x, target.y - half[1])]
    back = _beside(target, points[0][0]), target.y + half[1]
    if source.layer > target.layer:
        return [(_beside(source, points[-1][0]), source.y - half[0]), *points[::-1], back]
    return [(source.x, source.y + half[0]), *points, back]


def _beside(node: _Place, x: float) -> float:
    """Where an edge that leads back, and comes from x, meets a node: below or above where it comes from, if it can."""
    off = min(max(abs(x - node.x), APART), 0.4 * node.size.width)
    return node.x + math.copysign(off, x - node.x)
