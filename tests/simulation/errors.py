"""The errors that simulated clients raise: confluent_kafka's own, with the flags that librdkafka gives them."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException

ABORTABLE: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.INVALID_TXN_STATE,
    }
)
FATAL: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


def error(
    code: int, reason: str = "", *, fatal: bool = False, retriable: bool = False, abort: bool = False
) -> KafkaError:
    """An error as a client reports it."""
    return KafkaError(code, reason or None, fatal, retriable, abort)


def timed_out(what: str, *, retriable: bool = True) -> KafkaException:
    """A call that was not answered in its time."""
    return KafkaException(error(KafkaError._TIMED_OUT, f"{what}: timed out (simulated)", retriable=retriable))
