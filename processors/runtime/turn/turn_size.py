"""The number of records that a turn may take. It follows from how long the last turns took to fold."""

from dataclasses import dataclass


@dataclass(slots=True)
class TurnSize:
    """The number of records that a turn may take: as many as are folded in about `aim_s`.

    A transaction must end before its time-out, and the first record of a turn is visible no sooner than the last.
    """

    records: int = 64
    least: int = 16
    most: int = 4_000
    aim_s: float = 0.1

    def folded(self, records: int, seconds: float) -> None:
        """Learn from a turn, unless it had no records: that of rows takes as long as there are rows."""
        if not records:
            return
        if seconds > 2 * self.aim_s:
            self.records = max(self.least, min(self.most, int(records * self.aim_s / seconds)))
        elif records >= self.records and seconds < self.aim_s:
            self.records = min(self.most, self.records * 2)
