"""A customer in Python: starts a cart, changes it while it waits, and pays.

    python client.py

Kafka, a worker and `tasks.py` run already; Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092.
"""

import sys
from pathlib import Path

from halter import Client, CommandRejected, HalterError, NewEvent, Value
from halter.events import Resume

CART = Path(__file__).with_name("cart.yaml")
MUG: Value = {"sku": "mug-01", "name": "Stoneware mug", "quantity": 2, "price_cents": 1450}


def last_page(client: Client, wf_run_id: str) -> Value:
    """Return the page that the cart has noted."""
    run = client.get(wf_run_id)
    return None if run is None else run.threads[0].variables["last_page"]


def main() -> None:
    """Shop."""
    with Client.from_env() as client:
        client.register(CART)
        cart = client.run("cart", {"customer": "Ann", "card": "card-12345678"}, wait=True).wf_run_id
        print(f"{cart} is started")

        # The log is followed from here, so nothing that happens below is missed.
        with client.follow(cart) as events:
            posted = client.post(cart, "item-added", MUG, event_id="first-mug")
            print(f"{posted.id} is at {posted}")
            for it in events:
                print(f"  {it.entry.seq:>3}  {type(it.event).__name__}")
                if isinstance(it.event, Resume) and it.event.thread == 0:
                    break

        try:
            client.post(cart, "item-added", MUG, event_id="first-mug", wait=5)
        except CommandRejected as refused:
            print(f"asked twice: {refused.code}")

        client.post_many([NewEvent(cart, "page-seen", f"/mugs/{number}") for number in range(100)])
        client.get(cart, until=lambda run: run.threads[0].variables["last_page"] == "/mugs/99", timeout_s=10)
        print(f"it looks at {last_page(client, cart)!r}")

        client.post(cart, "slot-chosen", "tomorrow")
        client.post(cart, "checkout")
        ended = client.get(cart, until="ended", timeout_s=60)
        print(f"it is {ended.status}: {ended.threads[0].variables['receipt']!r}")


if __name__ == "__main__":
    try:
        main()
    except HalterError as error:
        sys.exit(f"halter: {error}")
