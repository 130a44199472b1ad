"""kill -9 at any crash point of a worker: after a restart the log has no gap, no repeat and nothing lost.

The worker ends itself with os._exit there, which is what SIGKILL does to it at that moment. The counting fold
shows on the log whatever goes wrong; the ledger compares inputs, log and state without using the runtime.
"""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle

import pytest

from processors.runtime.group.crash_points import KILLED, CrashPoint
from tests.support.installation import Installation
from tests.support.waiting import wait_until

# The first commit of a worker signs its shards, so these are reached there and in a turn.
IN_SIGNING = [f"{point}:1" for point in (CrashPoint.AFTER_FLUSH, CrashPoint.AFTER_SEND_OFFSETS)]
IN_LOAD = [CrashPoint.AFTER_SETTLE, CrashPoint.AFTER_CLAIM, CrashPoint.AFTER_RESTORE]
IN_TURN = [f"{point}:3" for point in CrashPoint if point not in IN_LOAD]


RESTARTED = [*IN_LOAD, *IN_SIGNING, *IN_TURN]
TAKEN_OVER = [f"{CrashPoint.MID_FOLD}:3", f"{CrashPoint.AFTER_FLUSH}:3", f"{CrashPoint.AFTER_SEND_OFFSETS}:3"]
LANES = 3


def restarted(installation: Installation, crash_at: str) -> None:
    """A worker is killed, and the next one in its slot goes on."""
    with installation.trickle():
        crashing = installation.worker("one", static=True, HALTER_CRASH_AT=crash_at)
        assert crashing.wait_end() == KILLED, crashing.log
    again = installation.worker("one", static=True)
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert again.stop()[0] == 0, again.log


def taken_over(installation: Installation, crash_at: str) -> None:
    """A worker is killed, and another one that is there takes its shards."""
    other = installation.worker("other")
    other.wait_ready()
    with installation.trickle():
        crashing = installation.worker("crashing", HALTER_CRASH_AT=crash_at)
        assert crashing.wait_end() == KILLED, crashing.log
    wait_until("take-over", lambda: other.shards == [0, 1])
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert other.stop()[0] == 0, other.log


Crash = Callable[[Installation, str], None]
Outcomes = dict[tuple[Crash, str], "Future[None]"]
EVERY: list[tuple[Crash, str]] = [
    *((restarted, crash_at) for crash_at in RESTARTED),
    *((taken_over, crash_at) for crash_at in TAKEN_OVER),
]


@pytest.fixture(scope="module")
def outcomes(
    bootstrap: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Outcomes]:
    """Those that are asked for, in a few installations beside one another, since they mostly wait.

    Within one they come one after the other: each crash adds to the history that the next one must keep.
    """
    names = [item.name for item in request.session.items]
    asked = [(crash, at) for crash, at in EVERY if any(name.endswith(f"[{at}]") for name in names)]
    with ExitStack() as stack:
        lanes = []
        for _ in range(LANES):
            prefix, folder = f"test-{uuid.uuid4().hex[:12]}-", tmp_path_factory.mktemp("crashes")
            installation = stack.enter_context(Installation(bootstrap, prefix, folder, partitions=2))
            lanes.append((stack.enter_context(ThreadPoolExecutor(1)), installation))
        outcomes = {
            (crash, at): pool.submit(crash, installation, at)
            for (crash, at), (pool, installation) in zip(asked, cycle(lanes), strict=False)
        }
        yield outcomes
        for outcome in outcomes.values():
            outcome.cancel()


@pytest.mark.parametrize("crash_at", RESTARTED)
def test_a_worker_killed_at_any_crash_point_loses_and_doubles_nothing_when_restarted(
    outcomes: Outcomes, crash_at: str
) -> None:
    outcomes[restarted, crash_at].result()


@pytest.mark.parametrize("crash_at", TAKEN_OVER)
def test_the_shards_of_a_worker_killed_anywhere_are_taken_over_by_another(outcomes: Outcomes, crash_at: str) -> None:
    outcomes[taken_over, crash_at].result()
