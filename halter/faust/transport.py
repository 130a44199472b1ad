"""The transport: `broker="kafka+committed://HOST:PORT"`."""

from typing import Any, Final

from faust.serializers.codecs import get_codec
from faust.transport.drivers import aiokafka as driver

from halter.faust.codec import HalterCodec
from processors.core.records.errors import HalterError

READ_COMMITTED: Final = "read_committed"


class UnfitFaust(HalterError):
    """The installed Faust cannot be told to read committed records. Install a release that Halter was tried with."""


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Makes a consumer that reads committed records only.

    Faust itself does so under `processing_guarantee="exactly_once"` alone, and has no setting for it.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise UnfitFaust(
                f"expected a Faust that can read committed records only, found one with {transport.driver_version}: "
                "install faust-streaming 0.15 with aiokafka 0.14"
            )
        consumer._isolation_level = READ_COMMITTED  # the consumer looks at it when it starts
        return consumer


class CommittedConsumer(driver.Consumer):
    """A consumer in such a thread."""

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(driver.Transport):
    """Faust's own transport to Kafka, except that it reads committed records only.

    What a worker of Halter wrote and did not commit did not happen. An application makes its transport with its first
    agent. So what is wrong with the variables is raised while its module is imported, and not at the first record.
    """

    Consumer = CommittedConsumer

    def __init__(self, *arguments: Any, **more: Any) -> None:
        """Raises SettingsError, ExtraMissing and RegistrySettings."""
        codec = get_codec("halter")
        assert isinstance(codec, HalterCodec)
        _ = codec.codec
        super().__init__(*arguments, **more)
