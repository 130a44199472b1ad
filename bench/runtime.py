"""What the runtime can do when the fold does next to nothing: python -m bench.runtime [--records N] [--partitions P]

Rate: records that lie ready, folded by one worker (JSON in; an event and a row out). Latency: records posted at 200/s,
from the post to the event in the hands of a read_committed consumer. Broker and worker share this machine.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
import uuid
from contextlib import nullcontext
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from halter.broker import EmbeddedBroker
from tests.support.installation import Installation


def rate(installation: Installation, records: int) -> None:
    """Fold what lies ready."""
    for number in range(records):
        topic = installation.topics.inputs[number % 3]
        while True:
            try:
                installation.producer.produce(
                    topic, b'{"number":%d,"text":"as long as it is"}' % number, b"key-%d" % (number % 5_000)
                )
                break
            except BufferError:
                installation.producer.poll(0.1)
    installation.producer.flush()
    worker = installation.worker("rate")
    worker.wait_ready()
    begun = time.monotonic()
    inputs = installation.ledger.inputs()
    installation.ledger.wait_until_folded(inputs, 300)
    worker.stop()
    print(
        f"about {len(inputs) / (time.monotonic() - begun):,.0f} records/s, waiting included; the worker's own figures:"
    )
    figures = dict(item.split("=") for item in worker.log.splitlines()[-1].split() if "=" in item)
    busy = float(figures["fold_s"]) + float(figures["commit_s"])
    turns = int(figures["turns"])
    print(f"  {figures}")
    print(
        f"  {int(figures['records']) / busy:,.0f} records/s and {turns / busy:,.0f} turns/s, folding and committing, "
        f"commit p50 {figures['commit_ms_p50']} ms, {int(figures['records']) / turns:,.0f} records a turn"
    )


def latency(installation: Installation, per_second: int, seconds: float) -> None:
    """Post at a rate; time every record."""
    worker = installation.worker("latency")
    worker.wait_ready()
    topics, partitions = installation.topics, installation.topics.partitions
    consumer = Consumer(installation.settings.consumer(group_id="latency", fetch_wait_max_ms=100))
    ends = [
        consumer.get_watermark_offsets(TopicPartition(topics.wf_events, it), timeout=10)[1] for it in range(partitions)
    ]
    consumer.assign([TopicPartition(topics.wf_events, it, end) for it, end in enumerate(ends)])
    posted: dict[int, float] = {}
    warm_up, count = 5 * per_second, int(per_second * (seconds + 5))

    def post() -> None:
        begun = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
            posted[number] = time.monotonic()
            installation.producer.produce(topics.external_events, b'{"number":%d}' % number, b"key-%d" % number)
            installation.producer.poll(0)
        installation.producer.flush()

    thread = threading.Thread(target=post)
    thread.start()
    took = []
    while len(took) < count:
        message = consumer.poll(5)
        assert message is not None, "events are missing"
        took.append(time.monotonic() - posted[json.loads(message.value() or b"")["input"]["number"]])
    thread.join()
    consumer.close()
    worker.stop()
    # Java is slow until it has compiled what it does often.
    took = sorted(took[warm_up:])
    print(
        f"at {per_second}/s: p50 {1_000 * statistics.median(took):.1f} ms, "
        f"p99 {1_000 * took[int(len(took) * 0.99)]:.1f} ms, "
        f"max {1_000 * took[-1]:.1f} ms"
    )
    print(f"  {worker.log.splitlines()[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--partitions", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        named = os.environ.get("HALTER_BOOTSTRAP")
        with nullcontext() if named else EmbeddedBroker(folder / "kafka") as kafka:
            bootstrap = named or kafka.bootstrap
            for measure in (
                lambda it: rate(it, options.records),
                lambda it: latency(it, 200, 15),
                lambda it: latency(it, 1_000, 10),
            ):
                prefix = f"bench-{uuid.uuid4().hex[:8]}-"
                with Installation(bootstrap, prefix, folder, partitions=options.partitions) as installation:
                    measure(installation)


if __name__ == "__main__":
    main()
