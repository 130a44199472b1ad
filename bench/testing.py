"""Measures tests in memory: WfRuns per second with real task functions. `python -m bench.testing [RUNS]`.

Counted is the CPU time of this process, so what else runs on the machine hardly matters.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from halter import Value
from halter.testing import WorkflowEnv
from processors.codec.resources import resource

CART = Path(resource("examples/cart"))
MUG: Value = {"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450}


def tasks() -> dict[str, Callable[..., object]]:
    """Return functions that take no time: those of the example sleep for 2 ms."""

    def charge(cents: int, **_: object) -> str:
        return f"receipt for {cents}"

    async def release(items: list[object]) -> int:
        return len(items)

    return {"charge-card": charge, "release-stock": release}


def shop(env: WorkflowEnv, cart: str) -> None:
    """Do what a test does: seven commands, three interrupts, a task, some 45 events."""
    env.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id=cart)
    env.post(cart, "item-added", MUG)
    env.post(cart, "address-changed", "12 Harbour Street")
    env.post(cart, "slot-chosen", "tomorrow")
    with env.held("charge-card"):
        env.post(cart, "checkout")
        env.post(cart, "page-seen", "/")
    assert env.wf_run(cart).status == "COMPLETED"


def main(runs: int) -> None:
    """Print the figures."""
    began = time.process_time()
    for number in range(runs):
        with WorkflowEnv(CART / "cart.yaml", tasks=tasks()) as env:
            shop(env, f"cart-{number}")
    alone = time.process_time() - began
    with WorkflowEnv(CART / "cart.yaml", tasks=tasks()) as env:
        began = time.process_time()
        for number in range(runs):
            shop(env, f"cart-{number}")
        shared = time.process_time() - began
        env.run("cart", {"customer": "Ann", "card": "card-1"}, wf_run_id="ann")
        began = time.process_time()
        env.pass_time(days=1)
        day = time.process_time() - began
    print(f"{runs / alone:,.0f} tests/s, each with an environment of its own ({alone / runs * 1e3:.2f} ms of CPU time)")
    print(f"{runs / shared:,.0f} WfRuns/s in one environment ({shared / runs * 1e3:.2f} ms)")
    print(f"a day passes in {day * 1e6:,.0f} µs with {runs} WfRuns in memory")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
