"""What a loop has done so far, and how far it is behind. The loop's thread writes it, and probes read it."""

from dataclasses import dataclass, field, fields
from typing import Any

from processors.measuring import Histogram


@dataclass
class Figures:
    """Counts since the start of this process. What was aborted is not among records and outputs until it is written."""

    records: int = 0
    """Records that were read, and whose effects are committed."""
    outputs: int = 0
    """Records that were written for them, dead letters included."""
    dead_letters: int = 0
    transactions: int = 0
    aborted: int = 0
    """Transactions that came to nothing and were made again."""
    lag: dict[str, int] = field(default_factory=dict)
    """For each partition that this process reads, the offsets behind its position, as `topic[partition]`.

    On a topic that is written in transactions their marks have offsets too, so this need not come to 0.
    """
    joined: bool = False
    waiting: bool = False
    """True while Kafka does not answer."""
    transaction_seconds: Histogram = field(default_factory=Histogram)
    """How long transactions took, from their first record to their end."""

    def counts(self) -> dict[str, int]:
        """Return what was done, for a line of the log."""
        return {"records": self.records, "outputs": self.outputs, "dead_letters": self.dead_letters}

    @property
    def ready(self) -> bool:
        """Say whether records are read and written: the group has given us partitions, perhaps none."""
        return self.joined and not self.waiting

    @property
    def live(self) -> bool:
        """The process answers. Its watchdog ends it when a call of Kafka's does not return."""
        return True

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        own = {it.name: getattr(self, it.name) for it in fields(self) if it.name != "transaction_seconds"}
        return {"ready": self.ready, "live": self.live, **own}
