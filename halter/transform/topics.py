"""Whether the topics of a mapping exist, and may be used. Asked at the start, and when Kafka says that one does not."""

import difflib
from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from halter.transform.errors import SourceRefused
from processors.kafka.client_errors import ClientErrors
from processors.kafka.settings import Settings
from processors.kafka.topics import Topics, other_partitions
from processors.runtime.group.calls import KafkaCalls, may_pass
from processors.runtime.group.clock import CLOCK

ASK_SECONDS: Final = 5.0
GONE_SECONDS: Final = 15.0
"""A broker that has just started may not know a topic for a moment."""
JUST_MADE_SECONDS: Final = 2.0
"""A broker may hear of a topic a while after it was made."""
AGAIN_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 1.0
REFUSED: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


class Existence:
    """Knows which topics are in doubt, and since when."""

    def __init__(self, settings: Settings, calls: KafkaCalls, monotonic: Callable[[], float]) -> None:
        self._settings, self._calls, self._monotonic = settings, calls, monotonic
        self._admin = AdminClient(settings.admin())
        self._doubted: dict[str, float] = {}
        self._looked_at = float("-inf")

    def expect(self, names: Iterable[str], topics: Topics) -> None:
        """Raise SourceRefused unless all topics exist, with as many partitions as we believe if they are Halter's."""
        own = {it.name: it for it in topics.all}
        for name in dict.fromkeys(names):
            deadline = self._monotonic() + JUST_MADE_SECONDS
            while (found := self._partitions(name)) is None:
                if self._monotonic() > deadline:
                    raise self._missing(name)
                CLOCK.sleep(AGAIN_SECONDS)
            if name in own and found != own[name].partitions:
                raise SourceRefused(other_partitions(own[name], found, topics))

    def doubt(self, name: str) -> None:
        """Note that Kafka says a topic does not exist."""
        self._doubted.setdefault(name, self._monotonic())

    def look(self) -> None:
        """Ask about topics that are in doubt. Raises SourceRefused if one has not existed for a while."""
        now = self._monotonic()
        if not self._doubted or now < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = now
        for name, since in [*self._doubted.items()]:
            try:
                is_there = self._partitions(name) is not None
            except KafkaException as exception:
                if not may_pass(exception):
                    raise
                continue
            if is_there:
                del self._doubted[name]
            elif now - since > GONE_SECONDS:
                raise self._missing(name)

    def answers(self) -> bool:
        """Say whether Kafka answers."""
        try:
            self._calls.once(self._admin.list_topics, "", ASK_SECONDS)
        except KafkaException:
            return False
        return True

    def _partitions(self, name: str) -> int | None:
        """Return the number of partitions of a topic; None if there is no such topic. Raises KafkaException."""
        found = self._calls.once(self._admin.list_topics, name, ASK_SECONDS).topics.get(name)
        if found is None:
            return None
        if found.error is None:
            return len(found.partitions)
        if found.error.code() in REFUSED:
            raise SourceRefused(f"topic '{name}' at {self._settings.bootstrap}: {ClientErrors.sentence(found.error)}")
        if found.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return None
        raise KafkaException(found.error)

    def _missing(self, name: str) -> SourceRefused:
        try:
            known = [*self._calls.once(self._admin.list_topics, None, ASK_SECONDS).topics]
        except KafkaException:
            known = []
        return SourceRefused(does_not_exist(name, self._settings, known))


def topics_there(settings: Settings) -> list[str]:
    """Return the names of the topics that this principal sees. Raises KafkaUnavailable."""
    admin = AdminClient(settings.admin())
    with settings.explaining("asking for the topics", admin):
        return [*admin.list_topics(timeout=ASK_SECONDS).topics]


def does_not_exist(name: str, settings: Settings, known: Iterable[str]) -> str:
    """Say that there is no topic of a name, and which of those that are known is probably meant."""
    ours = {it.name for it in settings.topics().all}  # a mapping is about a topic of the user
    near = difflib.get_close_matches(name, [it for it in known if it not in ours], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ": create it, or correct its name"
    return f"topic '{name}' does not exist at {settings.bootstrap}{hint}"
