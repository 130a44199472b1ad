"""The fixtures of all tests.

`prefix` is a name that no other test uses, `unused_port` a port. `bootstrap` (in `tests/broker`) is a real Kafka, and
`postgres_server` a real PostgreSQL.
"""

import signal
import uuid
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import Phase
from hypothesis.internal.conjecture import engine

from tests.support.collector import hide_what_is_there
from tests.support.ports import free_port
from tests.support.postgres import Postgres, running_postgres

# The time that an example takes depends on how busy the machine is. To explain a failure, every line is traced, up to
# Python 3.11 at a tenth of the speed.
PHASES = [it for it in Phase if it is not Phase.explain]
hypothesis.settings.register_profile("halter", deadline=None, phases=PHASES, print_blob=True)
hypothesis.settings.load_profile("halter")

# A failure is told, however slowly it gets smaller: the test would run into its time limit and end without one.
assert hasattr(engine, "MAX_SHRINKING_SECONDS"), "hypothesis has another name for it"
engine.MAX_SHRINKING_SECONDS = 45

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background makes them ignore Ctrl-C, and their children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Yield the PostgreSQL of the session."""
    with running_postgres() as it:
        yield it


def pytest_collection_finish() -> None:
    """Hide the tests from the garbage collector."""
    hide_what_is_there()


ABOUT_TIME = (
    "tests/chaos/",
    "tests/broker/test_latency",
    "tests/broker/test_runtime",
    "tests/broker/test_pauses",
    "tests/broker/test_simulation_is_faithful",
    "tests/broker/test_stores",
    "tests/broker/test_task_worker",
)
"""Tests that attack workers, or that depend on how long things take. No two of them run at the same time."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several test processes (`make test`), each takes a file at a time, and one of them all of ABOUT_TIME."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "about time" if nodeid.startswith(ABOUT_TIME) else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture
def prefix() -> str:
    """Return a prefix for topics, groups and transactional ids that no other test uses, even on a shared cluster."""
    return f"test-{uuid.uuid4().hex[:12]}-"


@pytest.fixture
def unused_port() -> int:
    """Return a port of the loopback address at which nobody listens."""
    return free_port()
