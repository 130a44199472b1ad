"""YAML and JSON texts of about so many bytes that are meant to cost more than their length, by name."""

from collections.abc import Callable
from typing import Final


def _laughing(size: int, layer: str) -> str:
    layers = "".join(f"l{n}: &l{n} {layer.format(', '.join([f'*l{n - 1}'] * 10))}\n" for n in range(1, 12))
    return f"l0: &l0 [{'x' * (size // 2)}]\n{layers}"


def _times(text: str, size: int) -> str:
    return text * (size // len(text))


ESCAPED: Final = '"\\u0041",'
DOCUMENTS: Final[dict[str, Callable[[int], str]]] = {
    "aliases of a scalar": lambda size: f"a: &a {'x' * (size // 2)}\nb: [{_times('*a,', size // 2)}]",
    "aliases of a list": lambda size: f"a: &a [{_times('xxxxxxxxx,', size // 2)}]\nb: [{_times('*a,', size // 2)}]",
    "aliases of a mapping": lambda size: (
        f"a: &a {{{''.join(f'k{n}: v, ' for n in range(size // 20))}}}\nb: [{_times('*a,', size // 2)}]"
    ),
    "aliases as keys": lambda size: f"a: &a {'x' * (size // 2)}\nb: [{_times('{*a : 1},', size // 2)}]",
    "aliases of aliases": lambda size: _laughing(size, "[{}]"),
    "aliases of aliases in mappings": lambda size: _laughing(size, "{{? [{}] : 1}}"),
    "merges": lambda size: (
        f"a: &a {{{''.join(f'k{n}: v, ' for n in range(size // 20))}}}\n"
        + "".join(f"b{n}: {{<<: *a}}\n" for n in range(size // 32))
    ),
    "merges of merges": lambda size: (
        f"l0: &l0 {{k: {'x' * (size // 2)}}}\n"
        + "".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
    ),
    "a chain of aliases": lambda size: (
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, size // 20))
    ),
    "a list in itself": lambda size: f"a: &a [{_times('*a,', size)}]",
    "a mapping in itself by merge": lambda size: f"a: &a {{<<: *a, k: {'x' * size}}}",
    "a long key": lambda size: f'? "{"x" * size}"\n: 1\n',
    "many keys": lambda size: "".join(f"k{n}: 1\n" for n in range(size // 9)),
    "one key again and again": lambda size: _times("k: 1\n", size),
    "tags": lambda size: _times("- !!str x\n", size),
    "a long tag": lambda size: f"- !{'x' * size} y\n",
    "a long int": lambda size: f"a: {'9' * size}\n",
    "a long int with a tag": lambda size: f"a: !!int {'9' * size}\n",
    "a long hexadecimal": lambda size: f"a: 0x{'f' * size}\n",
    "a long sexagesimal": lambda size: f"a: 1{_times(':59', size)}\n",
    "long ints": lambda size: _times(f"- {'9' * 4_000}\n", size),
    "a long float": lambda size: f"a: {'9' * size}.5\n",
    "a long exponent": lambda size: f"a: 1e{'9' * size}\n",
    "moments that never are": lambda size: _times("- 2026-13-45T99:99:99Z\n", size),
    "binary": lambda size: f"a: !!binary {'A' * size}\n",
    "a NUL": lambda size: f"a: x\0y\n{'b' * size}",
    "control characters": lambda size: f"a: {chr(1) * size}\n",
    "escapes": lambda size: f'a: "{_times(chr(92) + "x01", size)}"\n',
    "open lists": lambda size: "[" * size,
    "open mappings": lambda size: "{" * size,
    "lists in lists": lambda size: f"[{_times('[' * 90 + ']' * 90 + ',', size)}]",
    "dashes": lambda size: _times("- ", size),
    "questions": lambda size: _times("? ", size),
    "ever more indented": lambda size: "".join(f"{' ' * n}a:\n" for n in range(int((2 * size) ** 0.5))),
    "anchors": lambda size: "".join(f"- &a{n} x\n" for n in range(size // 10)),
    "a long anchor": lambda size: f"- &{'a' * size} x\n",
    "comments": lambda size: _times("#\n", size) + "a: 1\n",
    "a text of many lines": lambda size: "a: |\n" + _times("  word\n", size),
    "documents": lambda size: _times("--- a\n", size),
    "scalars": lambda size: f"[{_times('a,', size)}]",
    "pairs": lambda size: f"[{_times('a: b,', size)}]",
    "mappings": lambda size: f"[{_times('{},', size)}]",
    "JSON of numbers": lambda size: f"[{_times('1,', size)}1]",
    "JSON that is deep": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "JSON with a long int": lambda size: f"[{'9' * size}]",
    "JSON with a long float": lambda size: f"[{'9' * size}.5]",
    "JSON of escapes": lambda size: f"[{_times(ESCAPED, size)}1]",
    "JSON of one key": lambda size: "{" + _times('"a":1,', size) + '"a":2}',
    "JSON of a long text": lambda size: f'"{"x" * size}"',
    "an open quotation": lambda size: f'"{"x" * size}',
    "backslashes": lambda size: f'"{chr(92) * size}"',
    "spaces": lambda size: " " * size + "a",
    "line separators": lambda size: f"a: b{_times(chr(0x2028), size)}",
    "colons": lambda size: ":" * size,
}
