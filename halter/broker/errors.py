"""What can go wrong with the embedded broker, each with what to do about it."""

from processors.core.records.errors import HalterError


class JarsMissing(HalterError):
    """Kafka's jars are neither cached nor to be had: whoever runs the broker gives it a network or a mirror."""


class JarsUnfit(HalterError):
    """Kafka's coordinates lead to files that a class path cannot be made of: a developer of Halter decides."""


class PortTaken(HalterError):
    """Another process listens where the broker should: choose another port or stop that process."""


class DataFolderInUse(HalterError):
    """Another broker works in the data folder: stop it, or name another folder."""


class DataFolderUnfit(HalterError):
    """The data folder belongs to a broker of another shape or release: name another folder, or remove it."""


class BrokerFailed(HalterError):
    """Kafka ended or did not get ready; the message carries the end of its log."""
