"""A process as its Kafka and its operating system see it: calls that take time, and faults that strike in between.

Every blocking call of a client goes through `request` or `pause_point`. There a fault that waits for this process can
strike: before the request leaves, while it is on its way, or after its answer has come.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from tests.simulation.errors import timed_out
from tests.simulation.kernel import Crashed, Kernel, Task

T = TypeVar("T")
LATENCY_S: Final = (0.0002, 0.004)
HANG_S: Final = 15.0
"""The time after which the watchdog of a worker ends it."""


class Kind(StrEnum):
    """The ways in which a fault affects a call."""

    CRASH = "crash"
    STOP = "stop"
    """SIGSTOP, then SIGCONT: nothing in the process moves, not even its heartbeats."""
    STALL = "stall"
    """Only the calling thread stands still. Heartbeats go on."""
    LATE = "late"
    """The request arrives after so many seconds, even if nobody waits any more. With AFTER, the answer arrives late."""
    UNANSWERED = "unanswered"
    """The request has its effect, and its answer never comes."""
    REFUSED = "refused"
    """The request does not arrive."""
    HANG = "hang"
    """The call never returns, and the watchdog ends the process. A question is never answered."""


class Phase(StrEnum):
    """The moments at which a fault strikes."""

    BEFORE = "before"
    SENT = "sent"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault of one call: the `skip`-th call of this name that the process makes from now on ("" for any name)."""

    kind: Kind
    phase: Phase = Phase.BEFORE
    seconds: float = 0.0
    call: str = ""
    skip: int = 0


class Process:
    """One start of a worker, or of anything else that has clients."""

    def __init__(self, kernel: Kernel, name: str, randomness: random.Random) -> None:
        self.kernel, self.name, self.random = kernel, name, randomness
        self.task: Task | None = None
        self.is_dead = False
        self.stopped_until = 0.0
        self.cut_off_until = 0.0
        """The time until which the network carries nothing from it and nothing to it."""
        self.rules_break_until = 0.0
        """The time until which its fold raises at some of the records, as a bug in a rule would."""
        self.breaks_at: Callable[[bytes | None, int], bool] = lambda *_: False
        """True if its code has a bug that a record (key, time) meets; for good, unlike the above."""
        self.breaks_where = ""
        self.calls = 0
        self.last_call = ""
        self.beside: Callable[[], None] = lambda: None
        """Called while its main thread works: what its other thread has to do may happen now."""
        self.struck: Callable[[Strike, str], None] = lambda *_: None
        """Called with each fault that strikes, and with its call."""
        self._strikes: list[tuple[Strike, int]] = []
        self._late_writes: list[float] = []
        self._late_answers: list[float] = []

    def start(self, body: Callable[[], None]) -> None:
        """Let the process run."""
        self.task = self.kernel.spawn(self.name, body)

    def kill(self) -> None:
        """SIGKILL: what it has sent arrives, and nothing else does."""
        self.is_dead = True
        if self.task is not None:
            self.kernel.crash(self.task)

    def stop_for(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        self.stopped_until = max(self.stopped_until, self.kernel.now + seconds)

    def arm(self, strike: Strike) -> None:
        """Let a fault wait for its call."""
        self._strikes.append((strike, strike.skip))

    def disarm(self) -> None:
        """Drop all faults that wait."""
        self._strikes.clear()
        self._late_writes.clear()
        self._late_answers.clear()

    # What its background threads do.

    def latency(self) -> float:
        """Return how long a message is on its way."""
        return self.random.uniform(*LATENCY_S)

    def later(self, seconds: float, doing: Callable[[], None]) -> None:
        """Do something in the background later, if the process then lives and is not stopped."""

        def do() -> None:
            if self.is_dead:
                return
            if self.kernel.now < self.stopped_until:
                self.kernel.after(self.stopped_until - self.kernel.now + self.random.uniform(0.0, 0.01), do)
            else:
                doing()

        self.kernel.after(seconds, do)

    def send(self, doing: Callable[[], None], *, late_s: float = 0.0, away_until: float = 0.0) -> float:
        """Send a request. `doing` is its effect when it arrives. Return the seconds until then."""
        now = self.kernel.now
        seconds = max(self.cut_off_until, away_until, now) - now + late_s + self.latency()
        self.kernel.after(seconds, doing)
        return seconds

    def deliver(self, doing: Callable[[], None], late_s: float = 0.0) -> None:
        """Bring an answer to a background thread."""
        cut_off = max(0.0, self.cut_off_until - self.kernel.now)
        self.later(cut_off + self.latency() + late_s, doing)

    def write_delay(self) -> float:
        """Return how late the next request of a producer's background thread arrives."""
        return self._late_writes.pop() if self._late_writes else 0.0

    def answer_delay(self) -> float:
        """Return how late the answer to the next request of a producer's background thread comes."""
        return self._late_answers.pop() if self._late_answers else 0.0

    # What its main thread does.

    def sleep(self, seconds: float) -> None:
        """Let time pass; longer if the process is stopped meanwhile. Raises Crashed."""
        assert self.task is not None
        if self.is_dead:
            raise Crashed
        self.kernel.sleep(self.task, seconds)
        while self.kernel.now < self.stopped_until:
            self.kernel.sleep(self.task, self.stopped_until - self.kernel.now)

    def wait(self, seconds: float) -> None:
        """Do as `sleep`, but `wake` ends it."""
        self.sleep(seconds)

    def wake(self) -> None:
        """End a `wait`."""
        if self.task is not None and not self.is_dead:
            self.kernel.wake(self.task)

    def pause_point(self, name: str) -> Kind | None:
        """Make a call that asks nobody, or does not wait. Return the fault that struck it. Raises Crashed."""
        strike = self._next_strike(name)
        if strike is not None:
            self._befall(strike)
            return strike.kind
        if self.is_dead:
            raise Crashed
        return None

    def asks(self, name: str) -> Kind | None:
        """Do as `pause_point` for a question that is not waited for: faults of its answer do not concern the caller."""
        strike = self._next_strike(name)
        if strike is not None and strike.kind is not Kind.HANG:
            self._befall(strike)
        if self.is_dead:
            raise Crashed
        return None if strike is None else strike.kind

    def request(
        self, name: str, doing: Callable[[], T], seconds: float, away_until: Callable[[], float] = lambda: 0.0
    ) -> T:
        """Make a request, and wait for its answer. Raises KafkaException if that takes longer than `seconds`."""
        strike = self._next_strike(name)
        late_s, is_answered = 0.0, True
        if strike is not None:
            if strike.kind in {Kind.LATE, Kind.UNANSWERED}:
                late_s = strike.seconds if strike.kind is Kind.LATE else 0.0
                is_answered = strike.kind is not Kind.UNANSWERED
            elif strike.kind is Kind.REFUSED:
                self.sleep(seconds)
                raise timed_out(name)
            elif strike.phase is Phase.BEFORE:
                self._befall(strike)
        elif self.is_dead:
            raise Crashed
        answer: list[Any] = []
        takes = self.send(lambda: answer.append(doing()), late_s=late_s, away_until=away_until()) + self.latency()
        if strike is not None and strike.phase is Phase.SENT:
            self._befall(strike)
        if takes > seconds or not is_answered:
            self.sleep(seconds)
            raise timed_out(name)
        self.sleep(takes)
        if strike is not None and strike.phase is Phase.AFTER:
            self._befall(strike)
        result: T = answer[0]
        return result

    def background(self, name: str) -> float:
        """Make a request that the client makes by itself. Return how much later than others it arrives."""
        strike = self._next_strike(name, only_by_name=True)
        match strike:
            case Strike(Kind.LATE, seconds=seconds):
                return seconds
            case Strike(Kind.STOP | Kind.STALL, seconds=seconds):
                self.stop_for(seconds)
            case Strike(Kind.CRASH):
                self.kill()
        return 0.0

    def _next_strike(self, name: str, *, only_by_name: bool = False) -> Strike | None:
        if not only_by_name:
            self.calls += 1
            self.last_call = name
        if not self._strikes:
            return None
        found = None
        left: list[tuple[Strike, int]] = []
        for strike, skip in self._strikes:
            if strike.call not in ({name} if only_by_name else {"", name}):
                left.append((strike, skip))
            elif skip > 0 or found is not None:
                left.append((strike, skip - 1))
            else:
                found = strike
        self._strikes = left
        if found is not None:
            self.struck(found, name)
        return found

    def _befall(self, strike: Strike) -> None:
        match strike.kind:
            case Kind.CRASH:
                self.kill()
                raise Crashed
            case Kind.STOP:
                self.stop_for(strike.seconds)
                self.sleep(0.0)
            case Kind.STALL:
                self.sleep(strike.seconds)
            case Kind.HANG:
                self.sleep(HANG_S)
                self.kill()
                raise Crashed
            case Kind.LATE:
                (self._late_answers if strike.phase is Phase.AFTER else self._late_writes).append(strike.seconds)
            case _:
                pass
