"""The errors by which a loop ends. Each message says what was expected, what was found, and what to do."""

from processors.core.records.errors import HalterError


class SourceRefused(HalterError):
    """A topic to read or to write does not exist, or Kafka does not let us use it. Whoever runs Kafka acts."""


class PositionGone(HalterError):
    """The records from the committed offset on are not there: deleted unread, or the topic was made anew.

    Whoever runs the loop decides to go on without them, and sets the offsets of the group.
    """


class SlotTaken(HalterError):
    """Another process has the slot of this one. Whoever starts them gives each a slot of its own."""


class CannotWrite(HalterError):
    """The same records were aborted again and again. The message has the last reason; whoever runs Kafka acts."""
