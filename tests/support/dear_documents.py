"""PutWfSpec documents that are as expensive as a document can be, each of a kind, in any size.

Nearly all are refused: finding and reporting what is wrong with a document takes longer than reading what is right.
"""

import json
from collections.abc import Callable
from typing import Any

from processors.core.wf_spec.json_document import DOCUMENT_BYTES_MAX

ENTRYPOINT: dict[str, Any] = {"kind": "ENTRYPOINT", "next": "e"}
EXIT = {"kind": "EXIT"}
Nodes = dict[str, Any]


def _spec(threads: dict[str, Any]) -> dict[str, Any]:
    return {"name": "w", "entrypoint": "main", "threads": threads}


def _main(nodes: Nodes, **more: Any) -> dict[str, Any]:
    return _spec({"main": {"nodes": nodes}, **more})


def _variables(count: int, **of_each: Any) -> dict[str, Any]:
    return {f"v{number}": {"type": "INT", **of_each} for number in range(count)}


def _returning(expression: Any) -> dict[str, Any]:
    return _main({"s": {"kind": "EXIT", "return": expression}})


def _a_key_twice(size: int) -> str:
    return "{" + ",".join(f'"{number}":0' for number in range(size)) + ',"x":0,"x":0}'


def _fields_of_an_unknown_kind(size: int) -> Any:
    return _main({"s": {"kind": "Q", **{f"f{number}": 0 for number in range(size)}}})


def _unknown_fields(size: int) -> Any:
    return _main({"s": {"kind": "NOP", **{f"f{number}": 0 for number in range(size)}}})


def _entrypoints(size: int) -> Any:
    return _main({f"n{number}": {"kind": "ENTRYPOINT", "next": "a"} for number in range(size)})


def _missing_sinks(size: int) -> Any:
    return _main({f"n{number}": {"kind": "NOP", "next": "q"} for number in range(size)})


def _missing_handlers(size: int) -> Any:
    return _main({"s": {"kind": "NOP", "next": "q", "on_failure": [{"handler": "q"}] * size}})


def _handlers_that_require_much(size: int) -> Any:
    node = {"kind": "NOP", "next": "q", "on_failure": [{"handler": "h"}] * size}
    return _main({"s": node}, h={"variables": _variables(size // 4, required=True), "nodes": {}})


def _handlers_with_many_variables(size: int) -> Any:
    node = {"kind": "NOP", "next": "e", "on_failure": [{"handler": "h"}] * size}
    handler = {"variables": _variables(min(size // 8, 499)), "nodes": {"s": ENTRYPOINT, "e": EXIT}}
    return _main({"s": {"kind": "ENTRYPOINT", "next": "n"}, "n": node, "e": EXIT}, h=handler)


def _starts_that_give_nothing(size: int) -> Any:
    nodes = {f"s{number}": {"kind": "START_THREAD", "next": "q", "thread": "h"} for number in range(size)}
    return _main(nodes, h={"variables": _variables(size, required=True), "nodes": {}})


def _starts_of_many_variables(size: int) -> Any:
    nodes = {f"s{number}": {"kind": "START_THREAD", "next": "e", "thread": "h"} for number in range(min(size, 900))}
    child = {"variables": _variables(min(size // 2, 499)), "nodes": {"s": ENTRYPOINT, "e": EXIT}}
    return _main({"s": ENTRYPOINT, **nodes, "e": EXIT}, h=child)


def _unknown_variables(size: int) -> Any:
    thread = {"variables": _variables(size), "nodes": {"s": {"kind": "EXIT", "return": [{"var": "zz"}] * (2 * size)}}}
    return _spec({"main": thread})


def _variables_out_of_scope(size: int) -> Any:
    others = {f"t{number}": {"variables": {"z": {"type": "INT"}}, "nodes": {}} for number in range(size)}
    return _main({"s": {"kind": "EXIT", "return": [{"var": "z"}] * (4 * size)}}, **others)


def _generations(size: int, threads: int = 199) -> dict[str, Any]:
    """Each ThreadSpec starts the next, and sees the Variables of all above it."""
    found = {}
    for number in range(threads):
        last = number == threads - 1
        then = (
            {"kind": "NOP", "next": "e"} if last else {"kind": "START_THREAD", "thread": f"t{number + 1}", "next": "e"}
        )
        variables = {f"v{number}-{one}": {"type": "INT"} for one in range(size // threads)}
        nodes = {"s": {"kind": "ENTRYPOINT", "next": "a"}, "a": then, "e": EXIT}
        found["main" if number == 0 else f"t{number}"] = {"variables": variables, "nodes": nodes}
    return found


def _from_above(size: int) -> Any:
    return _spec(_generations(size))


def _from_below(size: int) -> Any:
    return _spec(dict(reversed(_generations(size).items())))


def _everybody_starts_everybody(size: int) -> Any:
    threads = 199
    found = {}
    for number in range(threads):
        starts = {
            f"a{one}": {
                "kind": "START_THREAD",
                "thread": f"t{(number * 7 + one * 13) % (threads - 1) + 1}",
                "next": "e",
            }
            for one in range(size // threads)
        }
        found["main" if number == 0 else f"t{number}"] = {"nodes": {"s": ENTRYPOINT, **starts, "e": EXIT}}
    return _spec(found)


def _handlers_of_whoever_fails(size: int) -> Any:
    """Each handler waits for any thread, and its handler is the next one."""
    found = {}
    for number in range(min(size, 199)):
        handlers = [{"handler": f"t{number + 1}"}] * (size // 199)
        wait = {"kind": "WAIT_FOR_THREADS", "threads": {"var": "x"}, "on_child_failure": handlers, "next": "e"}
        nodes = {"s": {"kind": "ENTRYPOINT", "next": "a"}, "a": wait, "e": EXIT}
        found["main" if number == 0 else f"t{number}"] = {"nodes": nodes}
    return _spec(found)


def _handlers_of_own_children(size: int) -> Any:
    wait = {
        "kind": "WAIT_FOR_THREADS",
        "threads": [{"output": "st"}] * size,
        "on_child_failure": [{"handler": "h"}] * size,
        "next": "e",
    }
    nodes = {"s": ENTRYPOINT, "st": {"kind": "START_THREAD", "thread": "h", "next": "e"}, "w": wait, "e": EXIT}
    return _main(nodes, h={"nodes": {"s": ENTRYPOINT, "e": EXIT}})


def _missing_task_defs(size: int) -> Any:
    return _main({f"n{number}": {"kind": "TASK", "task": "q", "next": "a"} for number in range(size)})


def _a_deep_literal(size: int) -> Any:
    return _returning({"literal": json.loads("[" * 90 + "1," * size + "1" + "]" * 90)})


def _a_deep_expression(size: int) -> Any:
    expression: Any = {"and": [{"var": "zz"}] * min(size, 1000)}
    for _ in range(29):
        expression = {"and": [expression, {"and": [{"var": "zz"}] * max(2, min(size // 30, 1000))}]}
    return _returning(expression)


def _exits_that_differ(size: int) -> Any:
    return _main({f"n{number}": {"kind": "EXIT", "return": "a" if number % 2 else 1} for number in range(size)})


def _one_interrupt_over_and_over(size: int) -> Any:
    return _spec({"main": {"interrupts": [{"event": "a", "handler": "h"}] * size, "nodes": {}}})


def _one_interrupt_of_all(size: int) -> Any:
    interrupts = [{"event": "a", "handler": "h"}]
    return _spec({f"t{number}": {"interrupts": interrupts, "nodes": {}} for number in range(size)})


def _empty_threads(size: int) -> Any:
    return _spec({f"t{number}": {"nodes": {}} for number in range(size)})


def _one_variable_of_all(size: int) -> Any:
    variables = {"variables": {"v": {"type": "INT"}}, "nodes": {"s": ENTRYPOINT, "e": EXIT}}
    return _spec({"main": variables, **{f"t{number}": variables for number in range(min(size, 199))}})


def _unknown_types(size: int) -> Any:
    return _spec({"main": {"variables": {f"v{number}": {"type": "INTT"} for number in range(size)}, "nodes": {}}})


def _a_long_format(size: int) -> Any:
    return _returning({"format": "{0}" * (4 * size), "args": [{"literal": 1}] * size})


def _under_a_long_name(size: int) -> Any:
    return _spec({"x" * (4 * size): {"nodes": {f"n{number}": {} for number in range(size)}}})


def _nodes_of_no_kind(size: int) -> Any:
    return _main({f"n{number}": {} for number in range(size)})


def _valid_nodes(size: int) -> Any:
    nodes = {f"n{number}": {"kind": "NOP", "next": f"n{number + 1}"} for number in range(min(size, 990))}
    return _main({"s": {"kind": "ENTRYPOINT", "next": "n0"}, **nodes, f"n{len(nodes)}": EXIT})


def _valid_mutations(size: int) -> Any:
    edge = {"to": "e", "set": [{"var": "v0", "op": "ADD", "value": {"add": [{"var": "v0"}, 1]}}] * size}
    return _spec({"main": {"variables": _variables(1), "nodes": {"s": {**ENTRYPOINT, "next": edge}, "e": EXIT}}})


def _returning_texts(text: str, size: int) -> dict[str, Any]:
    return _returning([{"expr": text}] * size)


def _long_sums_as_text(size: int) -> Any:
    document = _returning_texts("+".join(["v0"] * 1000), size)
    document["threads"]["main"]["variables"] = _variables(1)
    return document


def _differences_as_text(size: int) -> Any:
    return _returning_texts("-".join("1" * 30), size)


def _unknown_variables_in_texts(size: int) -> Any:
    return _returning_texts("[" + ",".join("a" * 500) + "]", size)


def _open_brackets_in_texts(size: int) -> Any:
    return _returning_texts("[" * 130, size)


def _mutations_that_are_none(size: int) -> Any:
    return _main({"a": {"kind": "ENTRYPOINT", "next": {"to": "b", "set": ["a+="] * size}}, "b": {"kind": "EXIT"}})


FAMILIES: tuple[Callable[[int], Any], ...] = (
    _a_key_twice,
    _fields_of_an_unknown_kind,
    _unknown_fields,
    _entrypoints,
    _missing_sinks,
    _missing_handlers,
    _handlers_that_require_much,
    _handlers_with_many_variables,
    _starts_that_give_nothing,
    _starts_of_many_variables,
    _unknown_variables,
    _variables_out_of_scope,
    _from_above,
    _from_below,
    _everybody_starts_everybody,
    _handlers_of_whoever_fails,
    _handlers_of_own_children,
    _missing_task_defs,
    _a_deep_literal,
    _a_deep_expression,
    _exits_that_differ,
    _one_interrupt_over_and_over,
    _one_interrupt_of_all,
    _empty_threads,
    _one_variable_of_all,
    _unknown_types,
    _a_long_format,
    _under_a_long_name,
    _nodes_of_no_kind,
    _valid_nodes,
    _valid_mutations,
    _long_sums_as_text,
    _differences_as_text,
    _unknown_variables_in_texts,
    _open_brackets_in_texts,
    _mutations_that_are_none,
)
"""Kind -> the document of a size, as plain data or as text."""


def name_of(family: Callable[[int], Any]) -> str:
    """Return what the documents of a kind are."""
    return family.__name__.strip("_").replace("_", " ")


def text_of(family: Callable[[int], Any], size: int) -> str:
    """Return the document as it is sent."""
    made = family(size)
    return made if isinstance(made, str) else json.dumps(made, separators=(",", ":"))


def largest(family: Callable[[int], Any]) -> int:
    """Return the largest size of a legal document, about."""
    most = DOCUMENT_BYTES_MAX - 1024
    least = len(text_of(family, 1_000))
    size = 1_000 if least > most else max(1_000, 1_000 * most // max(least, 1))
    while len(text_of(family, size)) > most:
        size = size * 9 // 10
    return size
