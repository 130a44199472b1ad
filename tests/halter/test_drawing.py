"""Drawings of ThreadSpecs: every node and edge has its place, nothing covers anything, and they are always the same."""

from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halter.files.definition_files import read_definition_file
from halter.scenarios.definitions import register
from halter.show.drawing import Drawing, drawings
from halter.show.layers import APART, Box, Link, Size, place
from processors.core.records.spec import WfSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
SIZES = st.builds(Size, st.integers(20, 200), st.integers(20, 60))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[Link]]:
    """Any graph, with loops and edges that lead back."""
    sizes = draw(st.lists(SIZES, min_size=1, max_size=12))
    node = st.integers(0, len(sizes) - 1)
    label = st.just(Size(0, 0)) | SIZES
    return sizes, draw(st.lists(st.builds(Link, node, node, label), max_size=20))


def overlap(a: Box, b: Box) -> bool:
    return abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_no_node_or_label_covers_another(graph: tuple[list[Size], list[Link]]) -> None:
    placed = place(*graph)
    boxes = [*placed.nodes, *(it for it in placed.labels if it.width)]
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
    for it in boxes:
        assert it.x - it.width / 2 >= -0.01
        assert it.x + it.width / 2 <= placed.width + 0.01
        assert it.y - it.height / 2 >= -0.01
        assert it.y + it.height / 2 <= placed.height + 0.01


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_every_edge_leads_from_its_node_to_the_other(graph: tuple[list[Size], list[Link]]) -> None:
    placed = place(*graph)
    for link, way in zip(graph[1], placed.ways, strict=True):
        for (x, y), number in ((way[0], link.source), (way[-1], link.target)):
            box = placed.nodes[number]
            leads_back = placed.nodes[link.target].y <= placed.nodes[link.source].y
            if not leads_back or (link.source == link.target and (x, y) == way[0]):
                assert abs(x - box.x) < 0.01
            else:  # the arrow is not that of an edge that leads on
                assert min(APART, 0.4 * box.width) - 0.01 < abs(x - box.x) < 0.41 * box.width
            assert abs(abs(y - box.y) - box.height / 2) < 0.01


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_every_edge_goes_straight_behind_its_label(graph: tuple[list[Size], list[Link]]) -> None:
    placed = place(*graph)
    for label, way in zip(placed.labels, placed.ways, strict=True):
        if label.height:
            ends = {(label.x, label.y - label.height / 2), (label.x, label.y + label.height / 2)}
            assert any(set(pair) == ends for pair in pairwise(way))


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_same_graph_is_placed_the_same_way(graph: tuple[list[Size], list[Link]]) -> None:
    assert place(*graph) == place(*graph)


def spec_of(example: str, name: str) -> WfSpec:
    definitions, refused = register(read_definition_file(EXAMPLES / example).commands)
    assert not refused
    found = definitions.latest_wf_spec(name)
    assert found is not None
    return definitions.wf_spec(found)


@pytest.mark.parametrize(("example", "name"), [("cart/cart.yaml", "cart"), ("kill-and-clean-up/order.yaml", "order")])
def test_a_drawing_has_every_node_and_edge_of_its_thread_spec(example: str, name: str) -> None:
    spec = spec_of(example, name)
    drawn = {it.name: it for it in drawings(spec)}
    assert set(drawn) == set(spec.threads)
    for thread in spec.threads.values():
        one = drawn[thread.name]
        assert {it.name for it in one.nodes} == set(thread.nodes)
        edges = [(node.name, edge.to) for node in thread.nodes.values() for edge in node.edges]
        assert sorted((it.source, it.target) for it in one.edges) == sorted(edges)


def test_a_drawing_says_what_starts_it() -> None:
    cart = drawings(spec_of("cart/cart.yaml", "cart"))
    first: Drawing = cart[0]
    assert first.entry
    assert ("cancelled (preemptive)", "cancel") in first.interrupts
    assert next(it for it in cart if it.name == "delivery").started_by == ("main",)
    assert next(it for it in first.nodes if it.name == "deliver").starts == (("delivery", "starts"),)
