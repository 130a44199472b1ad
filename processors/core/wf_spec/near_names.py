"""Guesses which name was meant by one that does not exist: the `(did you mean …?)` of an error sentence.

A guess costs more than finding the error. Documents are hostile until they are checked, so the comparisons for one
document are bounded; beyond the bound errors come without a guess.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

COMPARISONS_MAX = 10_000
"""The most names that are compared for one document: a fraction of a second."""
NAME_LENGTH_MAX = 100
"""The longest name that counts as a typing mistake."""
LISTED_MAX = 10
LISTED_LENGTH_MAX = 300
"""The most names that are listed where none is near, and the most characters of them together."""


def some_of(names: Sequence[str]) -> str:
    """Return `a, b and 7 more`: the first names, as a sentence has no room for a thousand; `none` if there are none."""
    more = f" and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else ""
    return (", ".join(names[:LISTED_MAX]) or "none") + more


class NearNames:
    """Guesses for one document; each uses up a part of its comparisons."""

    def __init__(self, comparisons: int | None = None) -> None:
        self._left = COMPARISONS_MAX if comparisons is None else comparisons

    def near(self, found: object, names: Iterable[str]) -> str | None:
        """Return the name that is most like the one that was found, whatever the case; None if none is near."""
        if not isinstance(found, str) or len(found) > NAME_LENGTH_MAX:
            return None
        known = list(names)
        self._left -= len(known)
        if self._left < 0:
            return None
        by_folded = {str(name).lower(): str(name) for name in known if len(name) <= NAME_LENGTH_MAX}
        matches = get_close_matches(found.lower(), by_folded, n=1)
        return by_folded[matches[0]] if matches else None

    def meant(self, found: object, names: Iterable[str]) -> str:
        """Return ` (did you mean x?)`, or an empty text."""
        near = self.near(found, names)
        return "" if near is None else f" (did you mean {near}?)"

    def meant_or_known(self, found: object, names: Iterable[str]) -> str:
        """Return what `meant` does or, where no name is near, the list of names if they are few."""
        known = list(names)
        meant = self.meant(found, known)
        if meant or not 0 < len(known) <= LISTED_MAX:
            return meant
        listed = ", ".join(known)
        return f" ({listed})" if len(listed) <= LISTED_LENGTH_MAX else ""
