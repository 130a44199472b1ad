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
from tests.support import recorded


@pytest.mark.parametrize(
    ("table", "others"),
    [
        pytest.param(WAKERS, WAKES_NOBODY, id="agenda.WAKERS and WAKES_NOBODY"),
        pytest.param(MEASURES, WEIGHS_NOTHING, id="bounds.MEASURES and WEIGHS_NOTHING"),
        pytest.param(TAKE_EVENTS, TAKE_NO_EVENT, id="bounds.TAKE_EVENTS and TAKE_NO_EVENT"),
    ],
)
def test_every_event_is_judged_once(table: Collection[type[Any]], others: Collection[type[Any]]) -> None:
    judged = [kind.__name__ for kind in (*table, *others)]
    assert {kind.__name__ for kind in get_args(Event)} == set(judged), "each event stands in one of the two tables"
    assert len(judged) == len(set(judged)), "no event stands in both"


def test_every_kind_of_node_is_run() -> None:
    assert set(RUNNERS) == set(get_args(AnyNode))


def test_the_documents_that_stand_for_all_have_every_kind_of_event_that_a_document_has() -> None:
    in_all, in_those = (
        set[type].union(*map(recorded.kinds_in, it)) for it in (recorded.documents(), recorded.EVERY_KIND)
    )
    assert in_all - in_those == set()
