"""The errors of this room: a setting or a file that cannot be used, and a cluster that does not serve us."""

from processors.core.records.errors import HalterError


class SettingsError(HalterError):
    """A property, variable or flag cannot be used. The message says where it was set; whoever set it corrects it."""


class TopicsFileError(HalterError):
    """topics.yaml says something that cannot be. Whoever keeps the file corrects the line that is named."""


class UnknownTaskQueue(HalterError):
    """A TaskDef or a task worker names a queue that topics.yaml does not declare. Declare it, then apply the file."""


class KafkaUnavailable(HalterError):
    """The cluster is out of reach, refuses us or does not answer. Whoever runs Kafka or set the address acts."""


class KafkaSilent(KafkaUnavailable):
    """Nothing that speaks Kafka has answered in time. It may yet answer: a caller with patience asks again."""

    @property
    def code(self) -> str:
        """For programs it is a KafkaUnavailable. They do not know this class."""
        return "KAFKA_UNAVAILABLE"
