"""Says which definition was probably meant by a name that is not registered. Asks nobody."""

from collections.abc import Sequence
from typing import Final

from processors.core.records.commands import DefinitionKind
from processors.core.wf_spec.definitions import Definitions
from processors.core.wf_spec.near_names import LISTED_LENGTH_MAX, NearNames

LISTED_MAX: Final = 10


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint, `; did you mean 'x'?`, or an empty text if no known name is near."""
    near = NearNames().near(name, known)
    return "" if near is None else f"; did you mean '{near}'?"


def meant(registered: Definitions, name: str, *kinds: str) -> str:
    """Return a hint: `; did you mean 'x'?`, or the registered names. For a registered name, return its versions."""
    of = [DefinitionKind(kind) for kind in kinds]
    versions = [str(it.version) for kind in of for it in registered.versions(kind, name) if not it.deleted]
    if versions:
        return f" (registered: {'… ' * (len(versions) > LISTED_MAX)}{', '.join(versions[-LISTED_MAX:])})"
    known = list(dict.fromkeys(it for kind in of for it in registered.names(kind)))
    if hint := nearest(name, known):
        return hint
    listed = ", ".join(known)
    few = 0 < len(known) <= LISTED_MAX and len(listed) <= LISTED_LENGTH_MAX
    return f"; registered are: {listed}" if few else ""
