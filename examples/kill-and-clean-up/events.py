"""Three customers: one changes nothing, one kills the order while the card is charged, and one when it is too late.

    python events.py

Kafka, a worker and `tasks.py` run already, and order.yaml is registered. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at
localhost:9092.
"""

import sys

from halter import Client, HalterError, Value, WfRun

ORDER: dict[str, Value] = {
    "items": [{"sku": "mug-01", "quantity": 2}],
    "card": "card-1",
    "cents": 2900,
    "address": "3 Mill Lane",
}
ORDERS = ("order-1", "order-2", "order-3")


def is_charged(run: WfRun) -> bool:
    """Tell whether the bank is being asked."""
    return 0 in run.threads and run.threads[0].node.node == "charge"


def main() -> None:
    """Order, and kill."""
    with Client.from_env() as client:
        for order in ORDERS:
            if client.get(order) is not None:
                client.delete(order, wait=30)  # of an earlier run of this program
            client.run("order", ORDER, wf_run_id=order, wait=30)

        client.get("order-2", until=is_charged, timeout_s=60)
        client.post("order-2", "order-killed", "found it cheaper", wait=30)
        for order in ORDERS:
            ended = client.get(order, until="ended", timeout_s=60)
            thread = ended.threads[0]
            print(f"{order} is {ended.status}: {thread.failure.message if thread.failure else repr(thread.output)}")

        client.post("order-3", "order-killed", "too late", wait=30)
        again = client.get("order-3")
        print(f"order-3 is {again.status if again else 'gone'} all the same")


if __name__ == "__main__":
    try:
        main()
    except HalterError as error:
        sys.exit(f"halter: {error}")
