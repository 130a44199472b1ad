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
    """Nothing that speaks Kafka has answered in time. It may yet answer: a caller with patience asks again.

    `start` says how its user may start it, if it is not running.
    """

    def __init__(self, sentence: str, *, on_this_machine: bool) -> None:
        super().__init__(sentence)
        self.on_this_machine = on_this_machine
        self.start = "start it (`halter broker`)" if on_this_machine else "look whether it runs there"

    @property
    def code(self) -> str:
        """For programs it is a KafkaUnavailable. They do not know this class."""
        return "KAFKA_UNAVAILABLE"
