"""The task worker of the order: a warehouse and a bank that remember in this process what they did.

    halter task-worker tasks:worker

in this folder, or `python tasks.py`. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092.

Every handler goes by the id of its WfRun, and may be called twice: a real one would ask its database in the same way.
"""

import sys
from typing import TypedDict

from halter import HalterError, Task, TaskWorker

SECONDS_TO_CHARGE = 1.0

worker = TaskWorker()
reserved: dict[str, int] = {}
charged: dict[str, int] = {}


class Item(TypedDict):
    """An item of an order."""

    sku: str
    quantity: int


@worker.task("reserve-stock")
def reserve_stock(items: list[Item], task: Task) -> int:
    """Put the items aside for this order, and return how many pieces they are."""
    reserved[task.wf_run_id] = sum(item["quantity"] for item in items)
    return reserved[task.wf_run_id]


@worker.task("charge-card")
def charge_card(card: str, cents: int, task: Task) -> str:  # noqa: ARG001  a bank would need the card
    """Take the money. It takes its time, and who kills the order meanwhile has to wait for it."""
    task.wait_cancelled(SECONDS_TO_CHARGE)
    charged[task.wf_run_id] = cents
    return f"receipt-{task.wf_run_id}"


@worker.task("ship-parcel")
def ship_parcel(address: str, task: Task) -> str:
    """Hand the parcel to a carrier, and return a number to track it by."""
    task.log.info("shipped", address=address)
    return f"parcel-{task.wf_run_id}"


@worker.task("release-stock")
def release_stock(task: Task) -> int:
    """Put back what is reserved for this order, and return how many pieces that were. None is no mistake."""
    return reserved.pop(task.wf_run_id, 0)


@worker.task("refund-card")
def refund_card(task: Task) -> int:
    """Give the money back, and return how much. Nothing is no mistake: the order was killed before it was charged."""
    return charged.pop(task.wf_run_id, 0)


if __name__ == "__main__":
    try:
        worker.run()
    except HalterError as error:
        sys.exit(f"halter: {error}")
