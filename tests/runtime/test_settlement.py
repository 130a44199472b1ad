"""Rules of who is taken for dead: an owner that the group does not know, if the group knows us."""

from types import SimpleNamespace
from typing import Any

import pytest

from processors.runtime.group.group_offsets import Committed
from processors.runtime.group.names import ShardTopics
from processors.runtime.group.waiting import Waiting
from processors.runtime.loading.settlement import Settlement
from tests.support.counting_fold import CountingDefinitions, CountingFactory

ME, OTHER = "halter-me", "halter-other"


@pytest.mark.parametrize(
    ("members", "dead"),
    [({ME}, [OTHER]), ({ME, OTHER}, []), ({"halter-third"}, []), (set(), [])],
    ids=["it has left", "it lives", "we are not known", "nobody is known"],
)
def test_an_owner_is_dead_if_a_group_that_knows_us_does_not_know_it(members: set[str], dead: list[str]) -> None:
    fenced: list[str] = []

    def answer() -> Waiting[frozenset[str]]:
        yield
        return frozenset(members)

    def end_transactions_of(owner: str) -> Waiting[None]:
        fenced.append(owner)
        yield

    cluster: Any = SimpleNamespace(members=answer)
    transaction: Any = SimpleNamespace(end_transactions_of=end_transactions_of)
    names = ShardTopics("", CountingFactory(CountingDefinitions()))
    settlement = Settlement(cluster, names, transaction, ME)
    work = settlement._fence_dead(
        {("wf-commands", 0): Committed(5, OTHER), ("wf-commands", 1): Committed(7, ME)}, set()
    )
    for _ in work:
        pass
    assert fenced == dead
