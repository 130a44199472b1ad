"""Parses the JSON text of a document into plain data, within bounds that do not depend on the caller's stack."""

import json
import math
from collections import Counter
from collections.abc import Iterable

from processors.core.records.values import ValueProblem

DOCUMENT_BYTES_MAX = 256 * 1024
DOCUMENT_DEPTH_MAX = 200
"""Most levels of JSON text. Python has a limit of its own, which depends on the caller's stack. It applies first, and
the sentence is the same.
"""


def parse_json_document(text: str) -> object:
    """Return the plain data of JSON text; raises ValueProblem for what is not JSON, too large, too deep or says a key
    twice.
    """
    size = utf8_size(text)
    if size > DOCUMENT_BYTES_MAX:
        raise ValueProblem(f"expected a document of at most {DOCUMENT_BYTES_MAX} bytes, found {size}")
    try:
        data: object = json.loads(text, object_pairs_hook=_object_without_duplicates, parse_int=_integer)
    except ValueError as exc:
        raise ValueProblem(f"expected a JSON document, found {exc}") from exc
    except RecursionError as exc:
        raise _too_deep() from exc
    containers = _containers([data])
    for _ in range(DOCUMENT_DEPTH_MAX):
        containers = _containers(
            part for item in containers for part in (item.values() if isinstance(item, dict) else item)
        )
    if containers:
        raise _too_deep()
    if "\\u" in text:
        utf8_size(json.dumps(data, ensure_ascii=False))
    return data


def utf8_size(text: str) -> int:
    """Return the size of a text in bytes; raises ValueProblem for half of a surrogate pair, which no encoding takes.

    Half a pair can be written in JSON, as `"\\ud800"`, but cannot be stored.
    """
    try:
        return len(text.encode())
    except UnicodeEncodeError as exc:
        raise ValueProblem(f"expected text, found half of a surrogate pair ({text[exc.start]!r})") from exc


def _containers(items: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [item for item in items if isinstance(item, dict | list)]


def _too_deep() -> ValueProblem:
    return ValueProblem(f"expected a JSON document of at most {DOCUMENT_DEPTH_MAX} levels, found more")


def _integer(text: str) -> int | float:
    # Python refuses to read thousands of digits; such a number fits nowhere, which the reader says with its place.
    return int(text) if len(text) < 30 else math.inf


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    data = dict(pairs)
    if len(data) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name in times if times[name] > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return data
