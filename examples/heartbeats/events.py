"""Two users: one is active for three seconds, one says nothing. Tokens last for two seconds here.

    python events.py

Kafka, a worker and `tasks.py` run already, and token.yaml is registered. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at
localhost:9092.
"""

import sys
import time

from halter import Client, HalterError, Timestamp, Value

IDLE_MS = 2_000
TOKENS = {"token-ann": "Ann", "token-bob": "Bob"}


def now() -> Timestamp:
    """Return the time of this machine. That of a heartbeat is when the user was active, not when Kafka heard of it."""
    return Timestamp(time.time_ns() // 1_000_000)


def main() -> None:
    """Sign in, and be active."""
    with Client.from_env() as client:
        started: dict[str, Timestamp] = {}
        for token, user in TOKENS.items():
            if client.get(token) is not None:
                client.delete(token, wait=30)  # of an earlier run of this program
            started[token] = now()
            variables: dict[str, Value] = {"user": user, "seen": started[token], "idle_ms": IDLE_MS}
            client.run("token", variables, wf_run_id=token, wait=30)

        for _ in range(30):
            client.post("token-ann", "heartbeat", now())
            time.sleep(0.1)
        for token, user in TOKENS.items():
            ended = client.get(token, until="ended", timeout_s=60)
            assert ended.ended_ms is not None
            print(f"{user} had a token for {(ended.ended_ms - started[token].epoch_ms) / 1000:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except HalterError as error:
        sys.exit(f"halter: {error}")
