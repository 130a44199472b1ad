"""What was probably meant by a name that does not exist: the `(did you mean …?)` of an error sentence.

Looking for it costs more than finding the error. Documents are hostile until they are checked, so there is a bound on
how much is looked at for one document; beyond it errors are told without a guess.
"""

from collections.abc import Iterable
from difflib import get_close_matches

COMPARISONS_MAX = 10_000
"""Of names, for one document: a fraction of a second."""
NAME_LENGTH_MAX = 100
"""Longer ones are nobody's typing mistake."""
LISTED_MAX = 10
LISTED_LENGTH_MAX = 300
"""Of names that are listed where none is near, and of their text."""


class NearNames:
    """Suggestions for one document."""

    def __init__(self, comparisons: int | None = None) -> None:
        self._left = COMPARISONS_MAX if comparisons is None else comparisons

    def near(self, found: object, names: Iterable[str]) -> str | None:
        """The name that looks most like what was found, upper and lower case alike; None if none does."""
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
        """` (did you mean x?)`, or nothing."""
        near = self.near(found, names)
        return "" if near is None else f" (did you mean {near}?)"

    def meant_or_known(self, found: object, names: Iterable[str]) -> str:
        """As `meant`; where no name is near, the names there are, if they are few."""
        known = list(names)
        meant = self.meant(found, known)
        if meant or not 0 < len(known) <= LISTED_MAX:
            return meant
        listed = ", ".join(known)
        return f" ({listed})" if len(listed) <= LISTED_LENGTH_MAX else ""
