"""A proxy's rule that loses the first request to join a group: its connection stays open, and no answer comes."""

from typing import Final

JOIN_GROUP: Final = (11).to_bytes(2, "big")
"""Where Kafka's protocol has the kind of a request: behind the four bytes of its length."""


class LostJoin:
    """Says of the first request to join that it gets lost."""

    def __init__(self) -> None:
        self.happened = False

    def __call__(self, data: bytes) -> bool:
        if self.happened or data[4:6] != JOIN_GROUP:
            return False
        self.happened = True
        return True
