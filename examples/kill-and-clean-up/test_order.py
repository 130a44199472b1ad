"""Tests of the order with its real task functions, in memory: `pytest` in this folder (docs/testing.md)."""

import pytest
from tasks import charged, reserved, worker

from halter import Value
from halter.testing import MakeEnv, WorkflowEnv

ORDER: dict[str, Value] = {
    "items": [{"sku": "mug-01", "quantity": 2}],
    "card": "card-1",
    "cents": 2900,
    "address": "3 Mill Lane",
}


@pytest.fixture
def env(workflow_env: MakeEnv) -> WorkflowEnv:
    """Return an environment with a warehouse and a bank that remember nothing."""
    reserved.clear()
    charged.clear()
    return workflow_env("order.yaml", tasks=worker)


def test_an_order_that_nobody_kills_is_shipped(env: WorkflowEnv) -> None:
    env.run("order", ORDER, wf_run_id="order-1")
    assert env.run_until_ended("order-1").output == "parcel-order-1"
    assert (reserved, charged) == ({"order-1": 2}, {"order-1": 2900})


def test_an_order_that_is_killed_while_its_card_is_charged_gives_everything_back_and_fails(env: WorkflowEnv) -> None:
    env.run("order", ORDER, wf_run_id="order-1")
    env.post("order-1", "order-killed", "found it cheaper")
    assert env.wf_run("order-1").thread().status == "HALTING"  # the bank is being asked
    ended = env.run_until_ended("order-1")
    assert ended.failure is not None
    assert ended.failure.name == "CHILD_FAILED"
    assert "order-killed: found it cheaper" in ended.failure.message
    assert [it.output for it in env.attempts_of("refund-card")] == [2900]
    assert (reserved, charged) == ({}, {})
    assert list(env.attempts_of("ship-parcel")) == []


def test_stock_that_is_being_reserved_when_the_order_is_killed_is_released_too(env: WorkflowEnv) -> None:
    with env.held("reserve-stock"):
        env.run("order", ORDER, wf_run_id="order-1")
        env.post("order-1", "order-killed", "ordered twice")
    env.run_until_ended("order-1")
    assert [it.output for it in env.attempts_of("release-stock")] == [2]
    assert [it.output for it in env.attempts_of("refund-card")] == [0]
    assert (reserved, charged) == ({}, {})


def test_a_kill_that_comes_too_late_changes_nothing(env: WorkflowEnv) -> None:
    env.run("order", ORDER, wf_run_id="order-1")
    env.run_until_ended("order-1")
    env.post("order-1", "order-killed", "too late")
    assert env.wf_run("order-1").status == "COMPLETED"
    assert charged == {"order-1": 2900}
