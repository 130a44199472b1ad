"""The task worker of the cart: it pretends to charge cards and to release stock.

    python tasks.py

Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092. SIGTERM and Ctrl-C end the worker.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from halter.client import Client, HalterError, Settings, Value
from halter.task_worker import BusinessException, Task, TaskWorker

DECLINED_CARD = "card-00000002"
SECONDS_TO_CHARGE = 0.002


def charge_card(task: Task) -> Value:
    """Return the number of a receipt. Raises a business exception if the bank refuses."""
    if task.input["card"] == DECLINED_CARD:
        raise BusinessException("card-declined", "the bank said no")
    time.sleep(SECONDS_TO_CHARGE)  # a real bank takes longer
    return f"receipt-{task.idempotency_key}"


def release_stock(task: Task) -> Value:
    """Put the items of the cart back on the shelf."""
    items = task.input["items"]
    return len(items) if isinstance(items, list) else 0


def main() -> None:
    """Work until a signal."""
    parser = argparse.ArgumentParser(description="Run the tasks of the cart.")
    parser.add_argument("--ready-file", type=Path, help="Make this file when there is a worker.")
    options = parser.parse_args()
    with (
        Client(Settings.load(None, os.environ, {})) as client,
        TaskWorker(client, {"charge-card": charge_card, "release-stock": release_stock}) as worker,
    ):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if options.ready_file is not None:
            options.ready_file.write_text("{}\n")
        worker.run()


if __name__ == "__main__":
    try:
        main()
    except HalterError as error:
        sys.exit(f"halter: {error}")
