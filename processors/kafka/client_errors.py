"""Takes what librdkafka reports beside its calls: the reasons of errors, in words for people, and its log."""

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError

REFUSALS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
"""Answers that waiting does not change."""
SILENCE: Final = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
"""Errors of a call that got no answer. librdkafka reports the reason, if it knows one, beside the call."""
UNEXPLAINED: Final = "nothing came back; does Kafka listen there, and is security.protocol the one of that port?"

REPEAT_SECONDS: Final = 60.0
"""librdkafka reports a broker that is away again and again; the log has it once in this time."""


class ClientErrors:
    """Receives the errors that librdkafka reports beside its calls. Otherwise they would show only as time-outs.

    Logs each kind of error at most once a minute, and keeps the latest one that explains something for
    `Settings.explaining`. librdkafka calls it in the thread that polls the client. With `logs=False`, nothing is
    logged, neither by it nor by the clients' ClientLog.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, logs: bool = True) -> None:
        self.latest: KafkaError | None = None
        self.logs = logs
        self._clock = clock
        self._logged: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        """Take one error; this is a client's `error_cb`."""
        code, now = error.code(), self._clock()
        # "All brokers down" follows another error, which says more.
        if self.latest is None or code != KafkaError._ALL_BROKERS_DOWN:
            self.latest = error
        if not self.logs or now - self._logged.get(code, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._logged[code] = now
        reason = self.sentence(error)
        _log("halter.kafka").error("kafka_client_error", error=error.name(), reason=reason, fatal=error.fatal())

    @staticmethod
    def sentence(error: KafkaError) -> str:
        """Return a sentence that says what happened and what to check."""
        detail = error.str()
        match error.code():
            case KafkaError._AUTHENTICATION | KafkaError.SASL_AUTHENTICATION_FAILED:
                return f"Kafka refused the credentials ({detail}): check sasl.*"
            case KafkaError._SSL:
                return f"TLS failed ({detail}): check security.protocol and ssl.*"
            case KafkaError._RESOLVE:
                return f"the host is not known ({detail})"
            case KafkaError._BAD_MSG:
                return f"what listens there does not speak Kafka's protocol, or security.protocol is another ({detail})"
            case KafkaError._ALL_BROKERS_DOWN:
                return f"no broker can be reached ({detail})"
            case KafkaError.TOPIC_AUTHORIZATION_FAILED | KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                return f"this principal may not do that ({detail}): see `halter topics acls`"
            case KafkaError.GROUP_AUTHORIZATION_FAILED | KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
                return f"this principal may not use that id ({detail}): see `halter topics acls`"
            case _:
                return detail


class ClientLog:
    """Writes librdkafka's log lines to our log; otherwise they would go to stderr in another form.

    Leaves out those that go to `error_cb` as well: a broker that is away would fill the log with them. With
    `logs=False`, leaves out all.
    """

    def __init__(self, *, logs: bool = True) -> None:
        self._logs = logs

    def log(self, level: int, message: str, facility: str, *arguments: object) -> None:
        """Take one line; this is a client's `logger`."""
        if self._logs and facility not in {"FAIL", "ERROR"}:
            _log("librdkafka").log(level, message % (facility, *arguments))


def _log(name: str) -> Any:
    """Return a logger. A process that has nothing to say does not import structlog, which takes a tenth of a second."""
    import structlog

    return structlog.get_logger(name)
