"""`python -m tests.chaos.bindings`: attacks processes that run a mapping, fault by fault, and counts effects.

For each fault two processes share the partitions of a source. Its producer writes in transactions, of which every third
is aborted. The fault strikes once a third of the records have their effects. A read_committed reader of its own then
says how often each committed record of the source has its effects, and in which order. `--of` says what is attacked:
bindings, correlated (bindings by correlation key, with the workers), sinks, or the loop alone. The processes reach the
broker through a proxy, which one fault cuts. `--times` repeats it all, each time with a Kafka of its own; the table has
the sums. `--results FILE` keeps each outcome at once, for `tests.chaos.mapping_table`.

A run that comes to no verdict (the broker or a process did not start in time, say) is an outcome, too. It is no
evidence of anything, so it does not count as a run; the next fault strikes a new Kafka.
"""

import argparse
import itertools
import json
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from processors.core.records.errors import HalterError
from processors.core.records.topic_names import DEAD_LETTERS
from tests.chaos import strikes
from tests.chaos.kafka import Brokers
from tests.chaos.mapping_subjects import PARTITIONS, PREFIX, SUBJECTS, Effect, Subject
from tests.chaos.reading import consumer
from tests.chaos.strikes import END_SECONDS, SESSION_MS, Processes
from tests.support.halter_processes import Halter
from tests.support.waiting import wait_until

BATCH, EVERY_ABORTED = 20, 3
LONG_SECONDS, BUSY = 10.0, 0.3
"""Who waits for a broker for longer than this uses less of a processor than this."""
COLUMNS: Final = ("runs", "records", "effects", "lost", "doubled", "out of order", "without a verdict")
NO_VERDICT: Final = (AssertionError, TimeoutError, subprocess.TimeoutExpired, HalterError, KafkaException)
"""What a part of the scenery raises that does not come up or go on. Whatever else is raised is a fault of the judge."""


class Source(threading.Thread):
    """A producer of another team's: writes records in transactions, and aborts some."""

    def __init__(
        self, bootstrap: str, name: str, count: int, seconds: float, produce: Callable[[Producer, int], None]
    ) -> None:
        super().__init__(daemon=True)
        self._brokers, self._name, self._count, self._pause = bootstrap, name, count, seconds * BATCH / count
        self._produce = produce
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Write all of them."""
        try:
            self._write()
        except BaseException as error:  # noqa: BLE001  told by `wait`
            self.failure = error

    def _write(self) -> None:
        number, tries = 0, 0
        producer = self._producer()
        while number < self._count:
            tries += 1
            try:
                producer.begin_transaction()
                for it in range(number, min(number + BATCH, self._count)):
                    self._produce(producer, it)
                if tries % EVERY_ABORTED == 0:
                    producer.abort_transaction(30)
                    continue
                producer.commit_transaction(30)
            except Exception:  # noqa: BLE001  a broker is away: what is unknown is settled by the next producer
                time.sleep(0.5)
                producer = self._producer()
                continue  # perhaps they are there twice: as two records, which have their effects each
            number += BATCH
            time.sleep(self._pause)

    def _producer(self) -> Producer:
        deadline = time.monotonic() + END_SECONDS
        while True:
            producer = Producer(
                {"bootstrap.servers": self._brokers, "transactional.id": f"of-{self._name}", "log_level": 0,
                 "transaction.timeout.ms": 10_000}
            )  # fmt: skip
            try:
                producer.init_transactions(10)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return producer

    def wait(self) -> None:
        """Wait until all are written."""
        self.join(END_SECONDS)
        if self.failure is not None:
            raise self.failure
        assert not self.is_alive()


class Reader:
    """Reads what comes to some topics from now on, committed records only, as anybody could."""

    def __init__(self, bootstrap: str, partitions: Mapping[str, int]) -> None:
        self._consumer: Consumer = consumer(bootstrap)
        self._places = [TopicPartition(topic, it) for topic, count in partitions.items() for it in range(count)]
        for it in self._places:
            wait_until(f"the leader of {it.topic}", lambda it=it: self._begin(it), END_SECONDS)  # type: ignore[misc]
        self._consumer.assign(self._places)
        self._ended: set[tuple[str | None, int | None]] = set()
        self.records: list[Message] = []

    def _begin(self, place: TopicPartition) -> bool:
        try:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=10)[1]
        except KafkaException:
            return False  # the topic is new
        return True

    def read(self, seconds: float = 0.2) -> None:
        """Read what there is."""
        while found := self._consumer.consume(5_000, seconds):
            for it in found:
                place, error = (it.topic(), it.partition()), it.error()
                if error is None:
                    self.records.append(it)
                    self._ended.discard(place)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._ended.add(place)

    def read_to_the_end(self) -> None:
        """Read until every partition says that there is no more."""
        self._ended.clear()

        def at_end() -> bool:
            self.read(0.5)
            return len(self._ended) == len(self._places)

        # The client says so once. What has come since is read from here on.
        behind = zip(self._places, self._consumer.position(self._places), strict=True)
        self._consumer.assign(
            [TopicPartition(it.topic, it.partition, max(it.offset, now.offset)) for it, now in behind]
        )
        wait_until("the ends of the partitions", at_end, END_SECONDS)

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()


@dataclass
class Scene:
    """The installation, as a fault sees it."""

    brokers: Brokers
    attacked: list[Processes]


def kill_both(scene: Scene) -> None:
    for it in scene.attacked:
        for number in (0, 1):
            it.started[number].kill()
        for number in (0, 1):
            it.kill(number)


def kill_often(scene: Scene) -> None:
    for number in range(6):
        for it in scene.attacked:
            it.kill(number % 2)
        time.sleep(1.5)


def rebalance(scene: Scene) -> None:
    for _ in range(2):
        thirds = [it.add() for it in scene.attacked]
        for third in thirds:
            third.send_signal(signal.SIGTERM)
            assert third.wait(20) == 0


def zombie(scene: Scene) -> None:
    """Stop one for longer than its session, so that the other takes over, then let it go on."""
    for it in scene.attacked:
        it.first.send_signal(signal.SIGSTOP)
    time.sleep(SESSION_MS / 1_000 + 6)
    for it in scene.attacked:
        it.first.send_signal(signal.SIGCONT)


def cut(scene: Scene) -> None:
    """Break every connection of the processes, and refuse new ones for a while."""
    scene.brokers.proxies.cut()
    time.sleep(5.0)
    scene.brokers.proxies.mend()


@dataclass(frozen=True)
class Fault:
    """A fault, and for how long the load lasts that it strikes."""

    text: str
    strike: Callable[[Scene], None]
    seconds: float = 6.0
    static: bool = False
    """Whether the processes are static members, with slots of their own."""
    they_live: bool = False
    """Whether nothing is done to the processes, so that none may end, and none may be busy while it waits."""


FAULTS: Final[Mapping[str, Fault]] = {
    "none": Fault("none", strikes.nothing),
    "kill": Fault("`kill -9` of one of the two", strikes.kill),
    "kill-both": Fault("`kill -9` of both, started again", kill_both),
    "kill-often": Fault("`kill -9` of one after the other, 6 times, with slots", kill_often, 14, static=True),
    "rebalance": Fault("a third one joins and leaves, twice", rebalance, 20),
    "sigterm": Fault("SIGTERM to one of the two", strikes.terminate),
    "zombie": Fault("SIGSTOP of one for longer than its session", zombie, 16),
    "cut": Fault("no connection to the broker for 5 s", cut, 10),
    "broker-away": Fault("the broker stands still for 4 s", strikes.stop_the_broker, 10, they_live=True),
    "broker-long-away": Fault("the broker stands still for 30 s", strikes.stop_the_broker_for_long, 10, they_live=True),
    "broker-restarted": Fault(
        "the broker is stopped, and started again", strikes.restart_the_broker, 12, they_live=True
    ),
    "broker-killed": Fault(
        "the broker is killed with `kill -9`, and comes back", strikes.kill_the_broker, 12, they_live=True
    ),
}
"""In the order in which they strike. The last one comes last because Kafka may lose marks of transactions then."""


@dataclass
class Outcome:
    """What came of the records under one fault."""

    name: str
    records: int
    """Records of the source that were committed."""
    effects: int
    lost: int
    doubled: int
    displaced: int
    """Effects that come after one of a later record of the same partition, among those that have an order."""
    seconds: float
    problems: list[str] = field(default_factory=list)
    runs: int = 1
    """Runs that came to a verdict."""
    without_verdict: int = 0

    @classmethod
    def without(cls, name: str, seconds: float, why: BaseException) -> Self:
        """Return the outcome of a run that came to no verdict."""
        problem = f"no verdict: {type(why).__name__}: {why}"
        return cls(name, 0, 0, 0, 0, 0, seconds, [problem], runs=0, without_verdict=1)

    @property
    def row(self) -> str:
        """Return a row of the table."""
        numbers = (self.runs, self.records, self.effects, self.lost, self.doubled, self.displaced, self.without_verdict)
        return strikes.row(FAULTS[self.name].text, *numbers)


def summed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return one outcome for each fault, with the sums of its runs."""
    found: dict[str, Outcome] = {}
    for it in outcomes:
        one = found.setdefault(it.name, Outcome(it.name, 0, 0, 0, 0, 0, 0.0, runs=0))
        for name in (each.name for each in fields(Outcome) if each.name != "name"):
            setattr(one, name, getattr(one, name) + getattr(it, name))
    return [*found.values()]


class Attack:
    """An installation, in which fault after fault strikes: a new one after a run without verdict."""

    def __init__(self, folder: Path, subject: Subject, say: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._subject, self._say = folder, subject, say
        self._found: list[tuple[str, int, int, Effect, str]] = []
        self._looked_at = 0

    def run(self, names: Sequence[str], records: int = 6_000) -> Iterator[Outcome]:
        """Yield what came of each fault. The caller made the folder."""
        left = [it for it in FAULTS if it in names]
        for number in itertools.count():
            if not left:
                return
            folder, begun = self._folder / str(number), time.monotonic()
            folder.mkdir()
            try:
                with ExitStack() as stack:
                    brokers, halter = self._installed(folder, stack)
                    while left:
                        begun = time.monotonic()
                        outcome = self._struck(left[0], brokers, halter, records)
                        left.pop(0)
                        yield self._told(outcome)
            except NO_VERDICT as error:
                if not left:
                    raise  # every fault has its outcome: it is the end of the installation that failed
                yield self._told(Outcome.without(left.pop(0), time.monotonic() - begun, error))

    def _installed(self, folder: Path, stack: ExitStack) -> tuple[Brokers, Halter]:
        """Return a Kafka and an installation with what the subject needs."""
        brokers = stack.enter_context(Brokers(folder / "kafka", 1))
        variables = {"KAFKA_SESSION_TIMEOUT_MS": str(SESSION_MS)}
        halter = Halter(brokers.bootstrap, PREFIX, folder, PARTITIONS, variables)
        with halter.worker(), halter.client() as client:
            self._subject.register(client)
        halter.environment["KAFKA_BOOTSTRAP_SERVERS"] = brokers.proxied_bootstrap
        return brokers, halter

    def _told(self, outcome: Outcome) -> Outcome:
        came = f"{outcome.records:,} records, {outcome.effects:,} effects"
        self._say(f"{outcome.name}: {outcome.seconds:.0f} s; {came}; {'; '.join(outcome.problems) or 'as promised'}")
        return outcome

    def _struck(self, name: str, brokers: Brokers, halter: Halter, records: int) -> Outcome:
        fault, begun, subject = FAULTS[name], time.monotonic(), self._subject
        self._found, self._looked_at = [], 0
        subject.prepare(halter, name, brokers.admin)
        source = subject.source_of(name)
        destinations = {subject.destination_of(name): PARTITIONS, PREFIX + DEAD_LETTERS: PARTITIONS}
        committed = Reader(brokers.bootstrap, {source: subject.source_partitions})
        effects = Reader(brokers.bootstrap, destinations)
        with ExitStack() as stack:
            attacked = [stack.enter_context(it) for it in self._programs(halter, name)]
            for it in attacked:
                it.add(2)
            producing = Source(
                brokers.bootstrap, name, records, fault.seconds, lambda at, it: subject.produce(at, name, it)
            )
            producing.start()

            def has(share: float) -> bool:
                effects.read()
                return len(self._of(effects, source)) >= share * records * subject.per_record

            wait_until("a third of the effects", lambda: has(0.3), END_SECONDS)
            mapping, before, struck = attacked[-1], attacked[-1].cpu_seconds, time.monotonic()
            fault.strike(Scene(brokers, attacked))
            took = time.monotonic() - struck
            busy = (mapping.cpu_seconds - before) / max(took, 1) / len(mapping.started)
            producing.wait()
            committed.read_to_the_end()

            def all_are_there() -> bool:
                for it in attacked:
                    it.keep()
                return self._are_there(effects, committed, source, records)

            with suppress(AssertionError):  # what is not there by then is counted
                wait_until("all effects", all_are_there, END_SECONDS)
            ended = mapping.ended + sum(it.poll() is not None for it in mapping.started)
        time.sleep(1.0)  # what is doubled may come late
        committed.read_to_the_end()
        effects.read_to_the_end()
        outcome = self._judged(name, effects, committed, source, time.monotonic() - begun)
        if outcome.records < records:
            outcome.problems.append(f"{records - outcome.records} records never came to the source")
        if fault.they_live:
            self._say(f"{name}: struck for {took:.0f} s, in which each process used {busy:.0%} of a processor")
            if ended:
                outcome.problems.append(f"{ended} processes ended")
            if took > LONG_SECONDS and busy > BUSY:
                outcome.problems.append(f"each process used {busy:.0%} of a processor while there was no broker")
        for reader in (effects, committed):
            reader.close()
        return outcome

    def _programs(self, halter: Halter, name: str) -> Iterator[Processes]:
        subject = self._subject
        names = {"source": subject.source_of(name), "destination": subject.destination_of(name), "fault": name}

        def program(number: int) -> list[str]:
            slot = ("--slot", str(number)) if FAULTS[name].static else ()
            return [*(it.format(**names, folder=halter.folder) for it in subject.command), *slot]

        if subject.runs_workers:
            kind = (lambda number: ("--slot", str(number))) if FAULTS[name].static else (lambda _: ())
            yield Processes(
                halter, f"{name}-worker", lambda number: ("-m", "halter", "worker", *kind(number)), "assigned"
            )
        yield Processes(halter, name, program, "partitions_begun")

    def _of(self, effects: Reader, source: str) -> list[tuple[Effect, str]]:
        """Return the effects of a source in the order of their partitions, each with those among which it is."""
        for message in effects.records[self._looked_at :]:
            found = self._subject.found(message)
            if found is not None and found.source == source:
                at = (message.topic() or "", message.partition() or 0, message.offset() or 0)
                self._found.append((*at, found.effect, found.among))
        self._looked_at = len(effects.records)
        return [(effect, among) for *_, effect, among in sorted(self._found, key=lambda it: it[:3])]

    def _expected(self, committed: Reader) -> set[Effect]:
        return {
            Effect(it.partition() or 0, it.offset() or 0, number)
            for it in committed.records
            for number in range(self._subject.expected(it))
        }

    def _are_there(self, effects: Reader, committed: Reader, source: str, records: int) -> bool:
        effects.read()
        committed.read()
        if len(committed.records) < records:  # the source of a sink is what workers write, and these are attacked
            return False
        return {effect for effect, _ in self._of(effects, source)} >= self._expected(committed)

    def _judged(self, name: str, effects: Reader, committed: Reader, source: str, seconds: float) -> Outcome:
        found, expected = self._of(effects, source), self._expected(committed)
        times = Counter(effect for effect, _ in found)
        last: dict[tuple[int, str], tuple[int, int]] = defaultdict(lambda: (-1, -1))
        displaced = 0
        for effect, among in found:
            at = effect.offset, effect.number
            displaced += at < last[effect.partition, among]
            last[effect.partition, among] = max(at, last[effect.partition, among])
        lost, doubled = len(expected - times.keys()), sum(count - 1 for count in times.values())
        it = Outcome(name, len(committed.records), len(found), lost, doubled, displaced, seconds)
        assert it.records, "nothing was read from the source"
        unknown = times.keys() - expected
        for count, what in (
            (lost, "are lost"), (doubled, "are doubled"), (displaced, "are out of order"),
            (len(unknown), "are of records that were never committed"),
        ):  # fmt: skip
            if count:
                it.problems.append(f"{count} effects {what}")
        return it


def main() -> None:
    """Attack, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.bindings", description=__doc__)
    parser.add_argument("--of", choices=SUBJECTS, default="bindings", help="what is attacked")
    parser.add_argument("--records", type=int, default=6_000)
    parser.add_argument("--results", type=Path, metavar="FILE", help="add each outcome to this file, as a line of JSON")
    parser.add_argument("--times", type=int, default=1, help="how often each fault strikes (default: 1)")

    def run(folder: Path, names: Sequence[str], given: argparse.Namespace, say: Callable[[str], None]) -> list[Outcome]:
        folders = [folder / str(number) for number in range(given.times)]
        for it in folders:
            it.mkdir()
        attacks = [Attack(it, SUBJECTS[given.of](), say) for it in folders]
        outcomes = []
        for outcome in (outcome for it in attacks for outcome in it.run(names, given.records)):
            outcomes.append(outcome)
            if given.results is not None:
                with given.results.open("a", encoding="utf-8") as results:
                    results.write(json.dumps({"of": given.of, **asdict(outcome)}) + "\n")
        return summed(outcomes)

    strikes.attack(parser, FAULTS, COLUMNS, run)


if __name__ == "__main__":
    main()
