"""The errors of the embedded broker, each with what to do about it."""

from processors.core.records.errors import HalterError


class JarsMissing(HalterError):
    """Kafka's jars are not in the cache and cannot be downloaded. Whoever runs the broker needs a network or mirror."""


class JarsUnfit(HalterError):
    """Kafka's coordinates resolve to files that are no plain jars. A developer of Halter decides what to do."""


class PortTaken(HalterError):
    """Another process listens on the broker's port. Choose another port, or stop that process."""


class DataFolderInUse(HalterError):
    """Another broker works in the data folder. Stop it, or name another folder."""


class DataFolderUnfit(HalterError):
    """The data folder is of another number of brokers or a newer release. Name another folder, or remove it."""


class BrokerFailed(HalterError):
    """Kafka ended or did not get ready. The message has the end of its log."""
