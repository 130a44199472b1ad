"""Tests of the cart with its real task functions, in memory: `pytest` in this folder (docs/testing.md).

`cart.scenario.yaml` is collected as well.
"""

import pytest
from tasks import DECLINED_CARD, worker

from halter import Value
from halter.events import Halt, Resume
from halter.testing import MakeEnv, WorkflowEnv

MUG: dict[str, Value] = {"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450}


@pytest.fixture
def env(workflow_env: MakeEnv) -> WorkflowEnv:
    """Return an environment in which Ann's cart waits."""
    env = workflow_env("cart.yaml", tasks=worker)
    env.run("cart", {"customer": "Ann", "card": "card-12345678"}, wf_run_id="ann")
    return env


def test_the_sum_of_all_items_is_charged(env: WorkflowEnv) -> None:
    env.post("ann", "item-added", MUG)
    env.post("ann", "item-added", {**MUG, "sku": "mug-02", "quantity": 1})
    env.post("ann", "slot-chosen", "tomorrow")
    env.post("ann", "checkout")
    cart = env.wf_run("ann")
    assert cart.status == "COMPLETED"
    assert cart.variables["receipt"] == "receipt-ann/0/0/4"
    assert [it.input["cents"] for it in env.attempts_of("charge-card")] == [4350]


def test_an_event_while_the_card_is_charged_waits_for_the_receipt(env: WorkflowEnv) -> None:
    env.post("ann", "slot-chosen", "tomorrow")
    with env.held("charge-card"):
        env.post("ann", "checkout")
        env.post("ann", "address-changed", "12 Harbour Street", event_id="moved")
        assert env.wf_run("ann").thread().status == "HALTING"
        assert env.wf_run("ann").thread().halt_reasons == ["PENDING_INTERRUPT(moved)"]
    assert env.wf_run("ann").status == "COMPLETED"
    assert env.wf_run("ann").variables["address"] == "12 Harbour Street"
    assert len(env.events("ann", Halt)) == len(env.events("ann", Resume)) == 1


def test_a_bank_that_does_not_answer_within_a_minute_fails_the_cart(env: WorkflowEnv) -> None:
    env.post("ann", "slot-chosen", "tomorrow")
    with env.held("charge-card"):
        env.post("ann", "checkout")
        env.pass_time(minutes=1)
    failure = env.wf_run("ann").failure
    assert failure is not None
    assert failure.name == "TIMEOUT"


def test_a_card_that_is_declined_ends_the_cart(env: WorkflowEnv) -> None:
    env.run("cart", {"customer": "Bob", "card": DECLINED_CARD}, wf_run_id="bob")
    env.post("bob", "slot-chosen", "tomorrow")
    env.post("bob", "checkout")
    failure = env.wf_run("bob").failure
    assert failure is not None
    assert failure.name == "card-declined"


def test_a_cart_that_is_cancelled_gives_back_its_stock(env: WorkflowEnv) -> None:
    env.post("ann", "item-added", MUG)
    env.post("ann", "cancelled", "too expensive")
    assert [it.output for it in env.attempts_of("release-stock")] == [1]
    assert env.wf_run("ann").status == "EXCEPTION"
    assert env.wf_run("ann").variables["reason"] == "too expensive"


def test_an_item_may_arrive_before_its_cart(workflow_env: MakeEnv) -> None:
    env = workflow_env("cart.yaml", tasks=worker)
    env.post("bob", "item-added", MUG)
    env.run("cart", {"customer": "Bob", "card": "card-1"}, wf_run_id="bob")
    assert env.wf_run("bob").variables["total_cents"] == 2900
