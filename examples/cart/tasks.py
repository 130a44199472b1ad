"""The task worker of the cart: it pretends to charge cards and to release stock.

    halter task-worker tasks:worker

in this folder, or `python tasks.py`. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092. SIGTERM and Ctrl-C
end it. docs/task-workers.md says how task workers are written.
"""

import sys
import time
from typing import TypedDict

from halter import BusinessException, HalterError, Task, TaskWorker

DECLINED_CARD = "card-00000002"
SECONDS_TO_CHARGE = 0.002

worker = TaskWorker()


class Item(TypedDict):
    """An item of a cart."""

    sku: str
    quantity: int


@worker.task("charge-card")
def charge_card(customer: str, card: str, cents: int, task: Task) -> str:
    """Return the number of a receipt. Raises a business exception if the bank refuses."""
    if card == DECLINED_CARD:
        raise BusinessException("card-declined", f"the bank said no to {cents} cents of {customer}")
    time.sleep(SECONDS_TO_CHARGE)  # a real bank takes longer
    return f"receipt-{task.idempotency_key}"


@worker.task("release-stock")
async def release_stock(items: list[Item]) -> int:
    """Put the items of the cart back on the shelf, and return how many there are."""
    return len(items)


if __name__ == "__main__":
    try:
        worker.run()
    except HalterError as error:
        sys.exit(f"halter: {error}")
