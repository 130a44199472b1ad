"""Prints the rooms of the house, floor by floor, and what each imports. docs/architecture.md has the result as a table.

    python docs/house.py                  every room
    python docs/house.py --engine         the tools in `halter` count as one room
    python docs/house.py --tree FOLDER    another checkout, such as an earlier version
    python docs/house.py --write          renew the table in docs/architecture.md
    python docs/house.py --check          is that table current, and is there no circle? Exit code 1 if not

The packages `processors` and `halter` are houses, and so is a folder in them that holds nothing but folders. A room
is a folder or a module that stands directly in a house. An arrow leads from a room to one that it imports. A room
stands one floor above the highest room that it imports; rooms in a circle share a floor. Old names, which only point
to where a module has moved, are left out.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import cached_property
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import grimp

PACKAGES = ("processors", "halter")
PAGE = Path(__file__).parent / "architecture.md"
MOVED = '"""Moved to '
"""Begins the file of an old name."""
BEGIN, END = "<!-- made by docs/house.py -->\n", "<!-- end -->\n"


class House:
    """Rooms and the arrows between them, as the imports of a checkout have them."""

    def __init__(self, graph: grimp.ImportGraph, closed: frozenset[str] = frozenset()) -> None:
        """`closed`: packages that count as one room."""
        self._graph = graph
        self._houses = {it for it in PACKAGES if it not in closed}
        for module in sorted(graph.modules):
            if module.rpartition(".")[0] in self._houses and self._holds_only_folders(module):
                self._houses.add(module)
        self.arrows: dict[str, set[str]] = {}
        for module in sorted(graph.modules - self._houses):
            imported = {self._room_of(it) for it in graph.find_modules_directly_imported_by(module)}
            self.arrows.setdefault(self._room_of(module), set()).update(imported)
        for room, imported in self.arrows.items():
            imported -= {room, *self._houses}

    def _holds_only_folders(self, package: str) -> bool:
        children = self._graph.find_children(package)
        return bool(children) and all(self._graph.find_children(child) for child in children)

    def _room_of(self, module: str) -> str:
        """Return the room in which a module stands: the part of its name up to below the innermost house."""
        while module not in self._houses and module.rpartition(".")[0] not in {*self._houses, ""}:
            module = module.rpartition(".")[0]
        return module

    @cached_property
    def circles(self) -> list[list[str]]:
        """Groups of rooms that import one another, directly or by way of others."""
        reached = {room: set(self._reached(room)) for room in self.arrows}
        return sorted({tuple(sorted(it for it in reached[room] if room in reached[it])) for room in reached} - {()})

    def _reached(self, room: str) -> Iterator[str]:
        seen, ahead = set[str](), [room]
        while ahead:
            new = self.arrows[ahead.pop()] - seen
            yield from new
            seen |= new
            ahead.extend(new)

    @cached_property
    def floors(self) -> dict[str, int]:
        """The floor of each room, 1 for the lowest."""
        one = {room: circle[0] for circle in self.circles for room in circle}
        below: dict[str, set[str]] = {}
        for room, imported in self.arrows.items():
            it = one.get(room, room)
            below.setdefault(it, set()).update({one.get(other, other) for other in imported} - {it})
        floors: dict[str, int] = {}
        for room in TopologicalSorter(below).static_order():
            floors[room] = 1 + max((floors[it] for it in below[room]), default=0)
        return {room: floors[one.get(room, room)] for room in self.arrows}

    @property
    def summary(self) -> str:
        """One line: how many rooms, floors, arrows and circles."""
        arrows = sum(map(len, self.arrows.values()))
        floors = max(self.floors.values())
        return f"{len(self.arrows)} rooms, {floors} floors, {arrows} arrows, {len(self.circles)} circles"

    def rows(self) -> list[tuple[int, str, list[str]]]:
        """Floor, room and what it imports; the highest floor first."""
        by_floor = sorted(self.floors.items(), key=lambda it: (-it[1], it[0]))
        return [
            (floor, room, sorted(self.arrows[room], key=lambda it: (-self.floors[it], it))) for room, floor in by_floor
        ]


def house(closed: frozenset[str] = frozenset()) -> House:
    """Return the house of the packages that Python finds."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    for module in [it for it in graph.modules if source(it).read_text(encoding="utf-8").startswith(MOVED)]:
        graph.remove_module(module)
    return House(graph, closed)


def source(module: str) -> Path:
    """Return the file of a module of ours."""
    package, *names = module.split(".")
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent.joinpath(*names)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def first_line(room: str) -> str:
    """Return the first line of a room's docstring: what it is."""
    return source(room).read_text(encoding="utf-8").split('"""')[1].splitlines()[0]


def table() -> str:
    """Return the table of docs/architecture.md."""
    drawn = house()
    lines = [f"{drawn.summary}.", "", "| Floor | Room | What it is | Imports |", "|--:|---|---|---|"]
    for floor, room, imported in drawn.rows():
        folder = Path(room.replace(".", "/"))
        link = f"[`{room}`](../{folder}{'' if folder.is_dir() else '.py'})"
        names = ", ".join(f"`{it.removeprefix('processors.')}`" for it in imported)
        lines.append(f"| {floor} | {link} | {first_line(room)} | {names} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the house, or write its table."""
    parser = argparse.ArgumentParser(description="Print the rooms of the house and what each imports.")
    parser.add_argument("--engine", action="store_true", help="count the tools in `halter` as one room")
    parser.add_argument("--tree", default=str(Path(__file__).parents[1]), help="the checkout to look at")
    parser.add_argument("--write", action="store_true", help="renew the table in docs/architecture.md")
    parser.add_argument("--check", action="store_true", help="compare that table with the code; look for circles")
    options = parser.parse_args()
    sys.path.insert(0, options.tree)
    if options.write or options.check:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        was, _, after = rest.partition(END)
        current = f"\n{table()}\n"
        if options.write:
            PAGE.write_text(f"{before}{BEGIN}{current}{END}{after}", encoding="utf-8")
        elif was != current:
            sys.exit(f"{PAGE.name}: the table of rooms is not current; run python docs/house.py --write")
        elif circles := house().circles:
            sys.exit(f"rooms that import one another: {'; '.join(map(' '.join, circles))}")
        return
    drawn = house(frozenset({"halter"} if options.engine else ()))
    for floor, room, imported in drawn.rows():
        print(f"floor {floor:2}  {room:28} {' '.join(imported)}")
    for circle in drawn.circles:
        print("circle:", " ".join(circle))
    print(drawn.summary)


if __name__ == "__main__":
    main()
