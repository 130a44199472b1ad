"""What every test may ask for.

`prefix`: a name no other test uses. `bootstrap` (in `tests/broker`): a real Kafka.
"""

import uuid
from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes test (`make test`), those with a Kafka come one after the other: one Kafka, one load."""
    from xdist.scheduler import LoadScopeScheduling

    class OneKafka(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "kafka" if nodeid.startswith(("tests/broker/", "tests/chaos/")) else nodeid.partition("::")[0]

    return OneKafka(config, log)


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test uses, also on a shared cluster."""
    return f"test-{uuid.uuid4().hex[:12]}-"
