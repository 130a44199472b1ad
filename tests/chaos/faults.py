"""The faults, one function each: what it does, to which process, and which partitions it affects.

The seed determines which fault strikes next, its victim and its duration. It does not determine how far the other
processes have come by then. So a run cannot be repeated exactly, but its posts can.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.fleet import Fleet, Worker
from tests.chaos.kafka import Brokers
from tests.chaos.recovery import Recoveries

NEW_WORKERS_MAX: Final = 2


@dataclass
class Scene:
    """The installation, as faults see it."""

    brokers: Brokers
    fleet: Fleet
    recoveries: Recoveries
    partitions: int
    session_s: float
    """How long a worker may be silent before the group takes its shards away."""
    random: random.Random
    extra: list[Worker]
    """Workers that one fault added, and another removes."""
    upgrades: Iterator[str] = field(default_factory=lambda: iter(()))
    """The steps of an upgrade. `next` takes one and gives its description."""

    def everywhere(self) -> set[int]:
        """Return all partitions."""
        return set(range(self.partitions))

    def victim(self) -> Worker:
        """Return a running worker, preferably one that is ready."""
        self.fleet.keep()
        running = [worker for worker in self.fleet.workers if worker.running]
        ready = [worker for worker in running if worker.ready]
        return self.random.choice(ready or running or self.fleet.workers)

    def strike(self, kind: str, partitions: set[int]) -> None:
        """Note that a fault begins."""
        self.recoveries.begin(kind, partitions or self.everywhere())


def kill(scene: Scene) -> str:
    """Kill one worker with kill -9. It comes back at once, or after its session has ended."""
    worker, stays_away = scene.victim(), scene.random.random() < 0.5
    scene.strike("kill", set(worker.shards) if worker.ready else set())
    worker.kill()
    if stays_away:
        worker.held_until = time.monotonic() + scene.session_s + 1
    scene.fleet.keep()
    return f"{worker.name}{', for longer than its session' if stays_away else ''}"


def kill_all(scene: Scene) -> str:
    """Kill every worker with kill -9 at the same moment."""
    scene.strike("kill-all", scene.everywhere())
    for worker in scene.fleet.workers:
        worker.send(signal.SIGKILL)
    for worker in scene.fleet.workers:
        worker.kill()
    scene.fleet.keep()
    return f"{len(scene.fleet.workers)} workers"


def zombie(scene: Scene) -> str:
    """Stop a worker with SIGSTOP for longer than its session, then SIGCONT: the former owner wakes up and goes on."""
    worker, seconds = scene.victim(), scene.session_s + scene.random.uniform(0.5, 3.0)
    scene.strike("zombie", set(worker.shards) if worker.ready else set())
    worker.send(signal.SIGSTOP)
    time.sleep(seconds)
    worker.send(signal.SIGCONT)
    return f"{worker.name}, {seconds:.1f} s"


def pause(scene: Scene) -> str:
    """Stop a worker with SIGSTOP for less than its session, then SIGCONT: a slow owner."""
    worker, seconds = scene.victim(), scene.random.uniform(0.2, scene.session_s * 0.7)
    scene.strike("pause", set(worker.shards) if worker.ready else set())
    worker.send(signal.SIGSTOP)
    time.sleep(seconds)
    worker.send(signal.SIGCONT)
    return f"{worker.name}, {seconds:.1f} s"


def rolling(scene: Scene) -> str:
    """Stop one worker after the other with SIGTERM. Each is back before the next is stopped."""
    scene.strike("rolling", scene.everywhere())
    for worker in list(scene.fleet.workers):
        worker.stop()
        scene.fleet.wait_ready()
    return f"{len(scene.fleet.workers)} workers"


def scale(scene: Scene) -> str:
    """Add a worker; or stop or kill one that was added."""
    if scene.extra and (len(scene.extra) >= NEW_WORKERS_MAX or scene.random.random() < 0.5):
        worker, by_force = scene.extra.pop(), scene.random.random() < 0.4
        scene.strike("scale", scene.everywhere())
        scene.fleet.remove(worker, by_force=by_force)
        return f"{worker.name} {'killed for good' if by_force else 'removed'}"
    scene.strike("scale", scene.everywhere())
    scene.extra.append(scene.fleet.add())
    return f"{scene.extra[-1].name} added"


def broker_kill(scene: Scene) -> str:
    """Kill one of three brokers with kill -9, back after a moment. Never while another one is not in sync."""
    scene.brokers.wait_in_sync()
    index, away_s = scene.random.randrange(scene.brokers.count), scene.random.uniform(0.5, 5.0)
    scene.strike("broker-kill", scene.everywhere())
    scene.brokers.kill(index, away_s)
    return f"broker {index}, for {away_s:.1f} s"


def only_broker_kill(scene: Scene) -> str:
    """Kill the only broker with kill -9."""
    scene.brokers.wait_in_sync()
    scene.strike("only-broker-kill", scene.everywhere())
    scene.brokers.kill(0, 0.0)
    return "the only broker"


def broker_stall(scene: Scene) -> str:
    """Stop a broker for a while, as a hanging disk would; sometimes so long that it is taken for dead."""
    scene.brokers.wait_in_sync()
    index, seconds = scene.random.randrange(scene.brokers.count), scene.random.uniform(1.0, 6.0)
    scene.strike("broker-stall", scene.everywhere())
    scene.brokers.stall(index, seconds)
    return f"broker {index}, {seconds:.1f} s"


def behind_proxies(scene: Scene) -> set[int]:
    """Return the shards of the workers that see Kafka through the proxies."""
    return {shard for worker in scene.fleet.workers if worker.proxied and worker.ready for shard in worker.shards}


def slow_network(scene: Scene) -> str:
    """Slow down the network of every other worker for a while: 20 to 400 ms each way for each chunk."""
    delay_s, seconds = scene.random.uniform(0.02, 0.4), scene.random.uniform(2.0, 6.0)
    scene.strike("slow-network", behind_proxies(scene))
    scene.brokers.proxies.delay_s = delay_s
    time.sleep(seconds)
    scene.brokers.proxies.mend()
    return f"{delay_s * 1_000:.0f} ms for {seconds:.1f} s"


def cut_network(scene: Scene) -> str:
    """Cut every other worker off from all brokers for a while. Its connections are reset."""
    seconds = scene.random.uniform(0.2, scene.session_s + 2)
    scene.strike("cut-network", behind_proxies(scene))
    scene.brokers.proxies.cut()
    time.sleep(seconds)
    scene.brokers.proxies.mend()
    return f"for {seconds:.1f} s"


def upgrade(scene: Scene) -> str:
    """Take a step of an upgrade: the topics, or one worker that is started again as another version."""
    scene.strike("upgrade", scene.everywhere())
    return next(scene.upgrades)


FAULTS: Final[Mapping[str, Callable[[Scene], str]]] = {
    "kill": kill,
    "kill-all": kill_all,
    "zombie": zombie,
    "pause": pause,
    "rolling": rolling,
    "scale": scale,
    "slow-network": slow_network,
    "cut-network": cut_network,
    "broker-stall": broker_stall,
    "broker-kill": broker_kill,
    "only-broker-kill": only_broker_kill,
    "upgrade": upgrade,
}
THREE_BROKERS: Final = frozenset({"broker-kill"})
ONE_BROKER: Final = frozenset({"only-broker-kill"})
NOT_BY_DEFAULT: Final = frozenset({"only-broker-kill", "upgrade"})
"""Kinds that strike only if they are named. Kafka itself may lose markers of a committed transaction when its only
broker is killed (docs/adr/0001), so a finding there says nothing about Halter. An upgrade needs the code of an earlier
release.
"""


def possible(brokers: int) -> list[str]:
    """Return the kinds that strike by default with so many brokers."""
    impossible = ONE_BROKER if brokers == 3 else THREE_BROKERS
    return [kind for kind in FAULTS if kind not in impossible | NOT_BY_DEFAULT]
