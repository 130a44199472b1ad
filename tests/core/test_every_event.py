"""An event, or a kind of node, that is added has been judged everywhere: nothing has a silent default.

What mypy can hold it holds (`assert_never`). These tests hold the tables in which the engine looks things up.
"""

from collections.abc import Collection
from typing import Any, get_args

import pytest

from processors.core.records.events import Event
from processors.core.records.spec import AnyNode
from processors.core.rules.agenda import WAKERS, WAKES_NOBODY
from processors.core.rules.bounds import MEASURES, TAKE_EVENTS, TAKE_NO_EVENT, WEIGHS_NOTHING
from processors.core.rules.nodes import RUNNERS


@pytest.mark.parametrize(
    ("table", "others"),
    [
        pytest.param(WAKERS, WAKES_NOBODY, id="whom it wakes"),
        pytest.param(MEASURES, WEIGHS_NOTHING, id="what it weighs"),
        pytest.param(TAKE_EVENTS, TAKE_NO_EVENT, id="whether it takes an ExternalEvent"),
    ],
)
def test_every_event_is_judged_once(table: Collection[type[Any]], others: Collection[type[Any]]) -> None:
    assert sorted(kind.__name__ for kind in (*table, *others)) == sorted(kind.__name__ for kind in get_args(Event))


def test_every_kind_of_node_is_run() -> None:
    assert set(RUNNERS) == set(get_args(AnyNode))
