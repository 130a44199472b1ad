"""What every test may ask for.

`prefix`: a name no other test uses. `bootstrap` (in `tests/broker`): a real Kafka.
"""

import signal
import uuid
from typing import Any

import hypothesis
import pytest

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("halter", deadline=None)
hypothesis.settings.load_profile("halter")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Who runs the tests in the background has them ignore Ctrl-C. The processes that they start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ABOUT_TIME = (
    "tests/chaos/",
    "tests/broker/test_runtime",
    "tests/broker/test_pauses",
    "tests/broker/test_simulation_is_faithful",
    "tests/broker/test_stores",
)
"""Tests that attack workers, or whose outcome depends on how long things take: no two of them at the same time."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where two processes test (`make test`), each takes a file at a time, and one of them takes all ABOUT_TIME."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "about time" if nodeid.startswith(ABOUT_TIME) else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test uses, also on a shared cluster."""
    return f"test-{uuid.uuid4().hex[:12]}-"
