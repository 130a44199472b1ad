"""What every test may ask for.

`prefix`: a name no other test uses. `bootstrap` (in `tests/broker`): a real Kafka.
"""

import uuid

import pytest


@pytest.fixture
def prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test uses, also on a shared cluster."""
    return f"test-{uuid.uuid4().hex[:12]}-"
