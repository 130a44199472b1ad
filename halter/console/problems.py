"""Errors as answers: a status, a code for programs and a sentence for people (`application/problem+json`, RFC 9457).

It knows which errors of the libraries are whose: the caller's, or Kafka's and the view's.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from halter.client.dead_letters import NoDeadLetter
from halter.client.errors import CommandRejected, InvalidArgument, NoOutcome
from halter.console.settings import BadConsole
from halter.history.moments import NoSuchMoment
from halter.history.source import NoSuchWfRun
from halter.view.filters import BadFilter
from halter.view.paging import BadCursor
from halter.view.place import ViewUnavailable
from processors.core.records.errors import HalterError
from processors.kafka.errors import KafkaUnavailable

CONTENT_TYPE: Final = "application/problem+json"


class Problem(HalterError):
    """A request that is answered with an error. Whoever sent it reads the sentence."""

    def __init__(self, status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})
        self._code = code

    @property
    def code(self) -> str:
        """The kind of error as a word for programs."""
        return self._code

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"status": self.status, "code": self._code, "title": self.sentence}

    def as_json(self) -> Response:
        """Return it as an answer for programs."""
        body = json.dumps(self.as_dict(), ensure_ascii=False).encode()
        return Response(body, self.status, self.headers, media_type=CONTENT_TYPE)


class NotThere(HalterError):
    """What was asked for is not there. Whoever asked takes another id."""


class NotFolded(HalterError):
    """What was asked for is not there yet, and what makes it may wait. Whoever asked looks why it waits."""


class BadQuery(HalterError):
    """A query has a value that cannot be. Whoever typed it corrects it; the message says which there are."""


class OutOfReach(HalterError):
    """What the console reads is away for the moment. It asks again with the next request."""


STATUSES: Final[tuple[tuple[type[HalterError], int], ...]] = (
    (NoSuchWfRun, 404),
    (NoSuchMoment, 404),
    (NotThere, 404),
    (NotFolded, 404),
    (NoDeadLetter, 404),
    (BadQuery, 400),
    (BadFilter, 400),
    (BadCursor, 400),
    (InvalidArgument, 400),
    (CommandRejected, 409),
    (NoOutcome, 504),
    (KafkaUnavailable, 503),
    (OutOfReach, 503),
    (ViewUnavailable, 503),
    (BadConsole, 500),
)
UNEXPECTED: Final = 500
FAILING: Final = frozenset({UNEXPECTED, *(status for _, status in STATUSES if status >= UNEXPECTED)})
"""The statuses that say that the console, or what it needs, is in trouble. Alerts look at them."""
RETRY_S: Final = "3"


def problem_of(error: Exception) -> Problem:
    """Return how an error is answered. Of one that nobody expected, nothing is told."""
    if isinstance(error, Problem):
        return error
    if not isinstance(error, HalterError):
        return Problem(UNEXPECTED, "INTERNAL", "the console met an error that it did not expect; its log has it")
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 409)
    return Problem(status, error.code, str(error), {"Retry-After": RETRY_S} if status == 503 else None)
