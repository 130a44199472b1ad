"""The tail of a partition's log: the entries that are not in the rows yet.

Rows follow the log (docs/adr/0015): a turn writes its log entries, and a later one the rows. So the state is the rows
and the tail of the log behind them. Whoever reads the state, a load or a tool, folds the tail with `evolve` alone.

All rows of a partition are written together, with the FoldPosition that they stand for. A turn that does what the log
alone does not tell (a dead letter, a decision of an operator, a definition) writes the rows with it, so nothing of that
is ever in a tail.
"""

from processors.core.records.events import Cause
from processors.core.records.fold_position import FoldPosition


class LogTail:
    """Tells the entries behind the rows from those before. Entries come in the order of the log."""

    def __init__(self, position: FoldPosition) -> None:
        """`position` is that of the rows."""
        self.offsets = dict(position.offsets)
        """The next offset to fold of each input topic, with the entries that came so far."""
        self.definitions_position = position.definitions_position
        self._begun = False

    def takes(self, cause: Cause) -> bool:
        """Return True if the entry with this cause, the next of the log, is not in the rows.

        Entries are in the order in which their causes were folded. So the tail begins with the first entry whose cause
        the position does not have, and has all entries after it.
        """
        if not self._begun and cause.offset < self.offsets.get(cause.topic, 0):
            return False
        self._begun = True
        self.offsets[cause.topic] = max(self.offsets.get(cause.topic, 0), cause.offset + 1)
        self.definitions_position = max(self.definitions_position, cause.definitions_position)
        return True
