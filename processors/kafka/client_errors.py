"""Takes what librdkafka reports beside its calls: the reasons of errors, in words for people, and its log."""

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

REFUSALS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
"""Answers that waiting does not change."""
SILENCE: Final = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN})
"""Errors of a call that got no answer. librdkafka reports the reason, if it knows one, beside the call."""
LEADER_CHANGES: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
)
"""Errors of a topic that was made, or of a broker that ended, a moment ago."""
AWAY: Final = SILENCE | {
    *LEADER_CHANGES,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.KAFKA_STORAGE_ERROR,
}
"""Errors that answer a question while brokers come and go: reasons to ask again. Transactional calls need no such list,
because their errors say whether the call may be made again."""
PASSING: Final = AWAY | {KafkaError._UNKNOWN_PARTITION}
"""The same of a topic that is there. The last one a client says by itself while brokers come and go."""
UNEXPLAINED: Final = "nothing came back; does Kafka listen there, and is security.protocol the one of that port?"

REPEAT_SECONDS: Final = 60.0
"""librdkafka reports a broker that is away again and again; the log has it once in this time."""
REASON_SECONDS: Final = 5.0
LINES_MAX: Final = 5
"""Number of lines of one kind that librdkafka may log in that time, whichever client it is about."""
SAID_ELSEWHERE: Final = frozenset({"FAIL", "ERROR", "FATAL"})
"""Kinds of lines that go to `error_cb` as well, or are raised: a broker that is away would fill the log with them."""


class ClientErrors:
    """Receives the errors that librdkafka reports beside its calls. Otherwise they would show only as time-outs.

    Logs each kind of error at most once a minute, and keeps the latest one that explains something for
    `Settings.explaining`. librdkafka calls it in the thread that polls the client. With `logs=False`, nothing is
    logged, neither by it nor by the clients' ClientLog.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, logs: bool = True) -> None:
        self.latest: KafkaError | None = None
        self.all_away_s = float("-inf")
        """When a client found last that no broker can be reached, by the clock."""
        self.logs = logs
        self._clock = clock
        self._logged: dict[int | str, tuple[float, int]] = {}
        """When the first line of a kind was logged, and how many there have been since, in REPEAT_SECONDS."""

    def __call__(self, error: KafkaError) -> None:
        """Take one error; this is a client's `error_cb`."""
        code = error.code()
        if code == KafkaError._ALL_BROKERS_DOWN:
            self.all_away_s = self._clock()
        # "All brokers down" follows another error, which says more.
        if self.latest is None or code != KafkaError._ALL_BROKERS_DOWN:
            self.latest = error
        if self.may_log(code):
            reason = self.sentence(error)
            _log("halter.kafka").error("kafka_client_error", error=error.name(), reason=reason, fatal=error.fatal())

    def may_log(self, kind: int | str, lines_max: int = 1) -> bool:
        """Return True if one more line of a kind may be logged, and count it."""
        now = self._clock()
        begun, lines = self._logged.get(kind, (now, 0))
        if now - begun >= REPEAT_SECONDS:
            begun, lines = now, 0
        self._logged[kind] = begun, lines + 1
        return self.logs and lines < lines_max

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


def lacking(right: str, topic: str, error: KafkaError) -> KafkaError:
    """Return an error that names the right which is missing on a topic, if that is why; else the error itself."""
    match error.code():
        case KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return KafkaError(error.code(), f"it lacks the right {right} on topic '{topic}'")
        case KafkaError.CLUSTER_AUTHORIZATION_FAILED if right == "WRITE":  # Kafka gives it no producer id
            return KafkaError(error.code(), f"it lacks the right WRITE on topic '{topic}', and on every other")
        case _:
            return error


def why_given_up(producer: Producer, error: KafkaError) -> KafkaError:
    """Return why the transaction of a producer cannot go on, where a record of it was only given up ("purged").

    A commit of such a transaction does nothing but say that. For other errors, return the error itself.
    """
    if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
        return error
    try:
        producer.commit_transaction(REASON_SECONDS)
    except KafkaException as exception:
        reason: KafkaError = exception.args[0]
        return error if reason.code() in SILENCE else reason
    return error


def lacking_id(transactional_id: str, error: KafkaError) -> KafkaError:
    """Return an error that names the transactional id which may not be used, if that is why; else the error itself."""
    if error.code() != KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return error
    return KafkaError(error.code(), f"it lacks the right WRITE on transactional id '{transactional_id}'")


class ClientLog:
    """Writes librdkafka's log lines to our log; otherwise they would go to stderr in another form.

    Leaves out what is said elsewhere, and all if ClientErrors log nothing. While a broker is away, every client may say
    each second that it asks in vain where topics are (METADATAUPDATE), so there are LINES_MAX lines of a kind a minute.
    """

    def __init__(self, errors: ClientErrors) -> None:
        self._errors = errors

    def log(self, level: int, message: str, facility: str, *arguments: object) -> None:
        """Take one line; this is a client's `logger`."""
        if facility not in SAID_ELSEWHERE and self._errors.may_log(facility, LINES_MAX):
            _log("librdkafka").log(level, message % (facility, *arguments))


def _log(name: str) -> Any:
    """Return a logger. A process that has nothing to say does not import structlog, which takes a tenth of a second."""
    import structlog

    return structlog.get_logger(name)
