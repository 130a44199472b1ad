"""kill -9 between any two steps of a worker: after a restart the log has no gap, no repeat and nothing lost.

The worker ends itself with os._exit at the step, which is what SIGKILL does to it at that moment. The counting fold
shows on the log whatever goes wrong; the ledger compares inputs, log and state without using the runtime.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.runtime.steps import KILLED, Step
from tests.support.installation import Installation, wait_until

# The first commit of a worker is its claim, so these are reached there and in a turn.
IN_CLAIM = [f"{step}:1" for step in (Step.AFTER_FLUSH, Step.AFTER_SEND_OFFSETS)]
IN_LOAD = [Step.AFTER_SETTLE, Step.AFTER_CLAIM, Step.AFTER_RESTORE]
IN_TURN = [f"{step}:3" for step in Step if step not in IN_LOAD]


@pytest.fixture(scope="module")
def installation(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all: each crash adds to the history that the next one must keep."""
    folder: Path = tmp_path_factory.mktemp("crashes")
    with Installation(bootstrap, f"test-{uuid.uuid4().hex[:12]}-", folder, partitions=2) as it:
        yield it


@pytest.mark.parametrize("crash_at", [*IN_LOAD, *IN_CLAIM, *IN_TURN])
def test_a_worker_killed_at_any_step_loses_and_doubles_nothing_when_restarted(
    installation: Installation, crash_at: str
) -> None:
    with installation.trickle():
        crashing = installation.worker("one", static=True, HALTER_CRASH_AT=crash_at)
        assert crashing.wait_end() == KILLED, crashing.log
    restarted = installation.worker("one", static=True)
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert restarted.stop()[0] == 0, restarted.log


@pytest.mark.parametrize("crash_at", [f"{Step.MID_FOLD}:3", f"{Step.AFTER_FLUSH}:3", f"{Step.AFTER_SEND_OFFSETS}:3"])
def test_the_shards_of_a_worker_killed_at_any_step_are_taken_over_by_another(
    installation: Installation, crash_at: str
) -> None:
    other = installation.worker("other")
    other.wait_ready()
    with installation.trickle():
        crashing = installation.worker("crashing", HALTER_CRASH_AT=crash_at)
        assert crashing.wait_end() == KILLED, crashing.log
    wait_until("take-over", lambda: other.shards == [0, 1])
    verdict = installation.verdict_when_folded()
    assert verdict.ok, verdict
    assert other.stop()[0] == 0, other.log
