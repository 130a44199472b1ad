"""The errors that simulated clients raise: confluent_kafka's own, with the flags that librdkafka sets."""

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
    """Return an error as a client reports it."""
    return KafkaError(code, reason or None, fatal, retriable, abort)


def timed_out(what: str, *, retriable: bool = True) -> KafkaException:
    """Return the error of a call that was not answered in time."""
    return KafkaException(error(KafkaError._TIMED_OUT, f"{what}: timed out (simulated)", retriable=retriable))
