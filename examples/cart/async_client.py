"""Many customers in one event loop: starts carts, posts to all of them at once, and watches the log meanwhile.

    python async_client.py [CARTS]

Kafka and a worker run already; Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092.
"""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from halter import AsyncClient, HalterError
from halter.events import Resume

CART = Path(__file__).with_name("cart.yaml")


async def shop(client: AsyncClient, customer: str) -> str:
    """Start a cart, change its address, and return its id."""
    posted = await client.run("cart", {"customer": customer, "card": "card-12345678"}, wait=True)
    await client.post(posted.wf_run_id, "address-changed", "12 Harbour Street")
    return posted.wf_run_id


async def main(carts: int) -> None:
    """Shop."""
    async with AsyncClient.from_env() as client:
        await client.register(CART)
        resumed: Counter[str] = Counter()
        async with client.follow(timeout_s=20) as events:
            started = await asyncio.gather(*(shop(client, f"customer {number}") for number in range(carts)))
            async for it in events:
                if isinstance(it.event, Resume) and it.event.thread == 0 and it.wf_run_id in started:
                    resumed[it.wf_run_id] += 1
                if len(resumed) == carts:
                    break
        print(f"{len(resumed)} of {carts} carts were interrupted, and went on")
        await asyncio.gather(*(client.delete(cart) for cart in started))


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
    except HalterError as error:
        sys.exit(f"halter: {error}")
