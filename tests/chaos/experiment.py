"""One run: brokers, topics, workers and load, then faults for a time or a number, then stillness, and the verdict."""

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from halter.client import Client
from halter.topics import admin as topic_admin
from processors.codec.resources import resource
from processors.kafka.settings import Settings
from tests.chaos.console import ConsoleUnderAttack
from tests.chaos.faults import FAULTS, Scene, possible
from tests.chaos.findings import Finding, Kind
from tests.chaos.fleet import Fleet, Program
from tests.chaos.kafka import Brokers, versions
from tests.chaos.load import Load
from tests.chaos.reading import NotReadable, Watcher, read_tape, wait_for
from tests.chaos.recovery import Felt, Pulse, Recoveries
from tests.chaos.script import definition_commands
from tests.chaos.task_worker import Reporter
from tests.chaos.upgrade import Upgrade, kept_for_ever
from tests.chaos.verdict import Verdict, judge
from tests.chaos.view import ViewUnderAttack
from tests.support.machine import Machine
from tests.support.otlp_receiver import OtlpReceiver

PREFIX: Final = "chaos-"
RECOVERED_SECONDS: Final = 180.0
STILL_SECONDS: Final = 6.0
"""Longer than any timer of the load: whoever is still for so long waits only for events."""
STILLNESS_WITHIN_SECONDS: Final = 300.0
SAY_SECONDS: Final = 15.0
BROKERS_SESSION_SECONDS: Final = 6.0
"""Under KIP-848 the broker sets the session time-out (halter/broker/configuration.py)."""


@dataclass(frozen=True)
class Options:
    """The options of a run."""

    seed: int
    seconds: float | None = None
    """How long faults strike, …"""
    faults: int | None = None
    """… or how many strike."""
    kinds: tuple[str, ...] = ()
    """The kinds of faults. Empty: all that are possible with these brokers."""
    brokers: int = 3
    partitions: int = 8
    workers: int = 2
    rate: float = 25.0
    """Steps of the load per second."""
    members: str = "mixed"
    kip848: bool = False
    session_s: float = 4.0
    store: str = "memory"
    """Where workers keep state. With `rocksdb` all members are static."""
    view: bool = False
    """Keep two views beside the workers and a console on one of them; kill a view with every fault, compare in the end.

    One keeps masked values, and is compared with the log byte for byte. The console may not show it, so it reads the
    other one, and has to show what the first has.
    """
    tracing: bool = False
    """Whether each record of the load begins a trace, and workers send their spans to a receiver."""
    upgrade_from: Path | None = None
    """A folder with the code of a release, which the workers run at first."""
    release: str = "0.1.0"

    @property
    def kinds_that_strike(self) -> tuple[str, ...]:
        """The kinds of faults that were chosen, or all."""
        return self.kinds or tuple(
            kind for kind in possible(self.brokers) if not (self.upgrade_from and kind == "scale")
        )

    @property
    def real_session_s(self) -> float:
        """The time for which a member may be silent."""
        return BROKERS_SESSION_SECONDS if self.kip848 else self.session_s

    def worker_properties(self) -> dict[str, str]:
        """The variables for the workers, apart from those of the store."""
        if self.kip848:
            return {"KAFKA_GROUP_PROTOCOL": "consumer"}
        return {"KAFKA_SESSION_TIMEOUT_MS": str(int(self.session_s * 1_000)), "KAFKA_HEARTBEAT_INTERVAL_MS": "500"}


@dataclass
class Report:
    """The result of a run."""

    options: Options
    verdict: Verdict
    felt: list[Felt]
    seconds: float
    figures: dict[str, Any]
    versions: list[str] = field(default_factory=lambda: list(versions()))
    machine: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the result as data for a file."""
        return {
            "options": {**asdict(self.options), "upgrade_from": self.options.upgrade_from is not None},
            "verdict": self.verdict.as_dict(),
            "faults": [{"kind": it.kind, "partitions": it.partitions, "seconds": it.seconds} for it in self.felt],
            "seconds": self.seconds,
            "figures": self.figures,
            "versions": self.versions,
            "machine": self.machine,
        }


class Experiment:
    """Runs in a folder. The caller made the folder, and removes it or keeps it as evidence."""

    def __init__(self, options: Options, folder: Path, say: Callable[[str], None] = print) -> None:
        self._options, self._folder, self._say = options, folder, say
        self._figures: dict[str, Any] = {}
        self._stuck: list[Finding] = []
        self._views: list[ViewUnderAttack] = []
        self._console: ConsoleUnderAttack | None = None

    def run(self) -> Report:
        """Run everything."""
        options, begun = self._options, time.monotonic()
        self._say(
            f"seed {options.seed}: {options.brokers} broker(s), {options.partitions} partitions, evidence in "
            f"{self._folder}"
        )
        with Brokers(self._folder / "kafka", options.brokers) as brokers:
            document = yaml.safe_load(resource("topics.yaml").read_text(encoding="utf-8"))
            topics_file = kept_for_ever(document, self._folder / "topics.yaml")
            overrides: dict[str, str | None] = {"bootstrap.servers": brokers.bootstrap}
            settings = Settings.load(
                None, {}, overrides, prefix=PREFIX, partitions=options.partitions, topics_file=topics_file
            )
            with OtlpReceiver() as receiver:
                try:
                    verdict, felt = self._attack(brokers, settings, topics_file, receiver)
                finally:
                    if self._console is not None:
                        self._console.end()
            if options.tracing:
                self._figures["spans"] = dict(Counter(it.name for it in receiver.spans()))
        if verdict.ok:
            for data in (self._folder / "kafka").glob("broker-*/"):
                shutil.rmtree(data, ignore_errors=True)
        report = Report(options, verdict, felt, time.monotonic() - begun, self._figures, machine=str(Machine()))
        (self._folder / "report.json").write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")
        return report

    def _attack(
        self, brokers: Brokers, settings: Settings, topics_file: Path, receiver: OtlpReceiver
    ) -> tuple[Verdict, list[Felt]]:
        options = self._options
        environment = {
            "HALTER_PREFIX": PREFIX,
            "HALTER_PARTITIONS": str(options.partitions),
            "HALTER_TOPICS": str(topics_file),
            **options.worker_properties(),
        }
        if options.store != "memory":
            environment |= {"HALTER_STORE": options.store, "HALTER_STORE_DIR": str(self._folder / "store")}
        if options.tracing:
            environment |= {"HALTER_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        upgrade, program = None, Program()
        if options.upgrade_from is not None:
            upgrade = Upgrade(options.upgrade_from.absolute(), options.release, self._folder)
            program = upgrade.begin(brokers.bootstrap, environment)
        else:
            topic_admin.make_so(settings.topics(), brokers.admin, replication="auto")
        fleet = Fleet(brokers.bootstrap, brokers.proxied_bootstrap, environment, self._folder, options.members, program)
        recoveries = Recoveries()
        scene = Scene(
            brokers, fleet, recoveries, options.partitions, options.real_session_s,
            random.Random(f"faults {options.seed}"), [],
        )  # fmt: skip
        if upgrade is not None:
            scene.upgrades = upgrade.steps(fleet, settings, brokers.admin)
        watcher = Watcher(brokers.bootstrap, PREFIX, options.partitions, recoveries.on_outcome)
        load, pulse = (
            Load(settings, options.seed, options.rate, tracing=options.tracing),
            Pulse(settings, options.partitions, recoveries),
        )
        reporter = Reporter(settings)
        try:
            for _ in range(options.workers):
                fleet.add()
            fleet.wait_ready()
            with Client.of(settings) as client:
                for command in definition_commands():
                    client.put(command)
            load.start()
            if options.view:
                where = brokers.bootstrap, environment, self._folder
                self._views = [
                    ViewUnderAttack(*where, name, with_masked=with_masked)
                    for name, with_masked in (("view", True), ("view-of-console", False))
                ]
                for view in self._views:
                    view.keep()
                self._console = ConsoleUnderAttack(*where, self._views[1].file)
                self._console.begin()
            struck_from = time.monotonic()
            self._strike(scene)
            self._figures["seconds of faults"] = round(time.monotonic() - struck_from, 1)
            self._settle(scene, load, watcher, fleet)
        except (TimeoutError, NotReadable) as error:
            # A broker that does not come back is a finding. The topics are judged all the same.
            self._stuck.append(Finding(Kind.LOST, f"stuck: {error}"))
        finally:
            reporter.stop()
            pulse.stop()
            watcher.stop()
            fleet.end()
            for view in self._views:
                view.end()
        verdict = self._judge(brokers, load, reporter, fleet)
        for view in self._views:
            verdict.findings.extend(view.findings(settings))
        if self._console is not None:
            self._figures["views killed"] = sum(view.kills for view in self._views)
            verdict.findings.extend(self._console.findings(self._views[0].file))
            self._figures |= self._console.figures
        return verdict, recoveries.felt

    def _strike(self, scene: Scene) -> None:
        """Strike fault after fault. Each kind comes as often as the others, in random order."""
        options, begun = self._options, time.monotonic()
        number, bag = 0, list[str]()
        while True:
            if options.faults is not None and number >= options.faults:
                return
            if options.seconds is not None and time.monotonic() - begun >= options.seconds:
                return
            number += 1
            if self._views:
                self._views[number % 2].kill()
            if self._is_time_to_upgrade(number):
                self._say(f"{number:>4} {time.monotonic() - begun:>7.1f} s  {'upgrade':16} {FAULTS['upgrade'](scene)}")
                continue
            if not bag:
                bag = list(options.kinds_that_strike)
                scene.random.shuffle(bag)
            kind, gap_s, patient = bag.pop(), scene.random.uniform(0.1, 0.8), scene.random.random() < 0.2
            self._wait(scene, gap_s)
            at_s = time.monotonic() - begun
            said = FAULTS[kind](scene)
            self._say(f"{number:>4} {at_s:>7.1f} s  {kind:16} {said}")
            # Sometimes the next fault meets a whole installation, sometimes one that is still recovering.
            if patient:
                self._recover(scene)

    def _is_time_to_upgrade(self, number: int) -> bool:
        """Spread the steps of an upgrade over all faults. None of them is first or last."""
        options = self._options
        if options.upgrade_from is None or options.faults is None:
            return False
        steps = Upgrade.count(options.workers) + 1
        return number * steps // options.faults > (number - 1) * steps // options.faults and number < options.faults

    def _wait(self, scene: Scene, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            scene.fleet.keep()
            time.sleep(0.05)

    def _recover(self, scene: Scene) -> None:
        def recovered() -> bool:
            scene.fleet.keep()
            return not scene.recoveries.waiting()

        try:
            wait_for("recovery", recovered, RECOVERED_SECONDS)
        except TimeoutError as error:
            partitions = sorted(scene.recoveries.waiting())
            raise TimeoutError(f"partitions {partitions} have no new outcome: {error}") from None

    def _settle(self, scene: Scene, load: Load, watcher: Watcher, fleet: Fleet) -> None:
        """Wait until everything is posted and folded, all timers have fired, and all tasks are reported."""
        self._say("no more faults; waiting until all is still")
        scene.brokers.wait_in_sync()
        fleet.wait_ready()
        self._recover(scene)
        load.stop()

        say_at = time.monotonic() + SAY_SECONDS

        def still() -> bool:
            nonlocal say_at
            fleet.keep()
            if time.monotonic() > say_at:
                say_at += SAY_SECONDS
                self._say(
                    f"{watcher.inputs} inputs, {watcher.open} without outcome, still for {watcher.still_for:.1f} s; "
                    f"the rows of {len(watcher.behind)} partitions are behind"
                )
            return watcher.open == 0 and watcher.still_for > STILL_SECONDS and not watcher.behind

        try:
            wait_for("stillness", still, STILLNESS_WITHIN_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(
                f"{watcher.open} inputs have no outcome, such as {', '.join(watcher.some_open())}; the rows of "
                f"partitions {watcher.behind} have not followed: {error}"
            ) from None

    def _judge(self, brokers: Brokers, load: Load, reporter: Reporter, fleet: Fleet) -> Verdict:
        self._say("reading all topics, and judging")
        tape = read_tape(brokers.bootstrap, PREFIX, self._options.partitions)
        tape.save(self._folder / "tape.pickle.gz")
        if self._options.upgrade_from is None:
            verdict = judge(tape)
        else:
            verdict = judge(tape.in_current_schemas(), decide_again=False)
        there = {address for address, _ in tape.inputs()}
        gone = sorted(load.acknowledged - there)
        findings = [Finding(Kind.KAFKA, f"{address} was acknowledged and is not there") for address in gone]
        verdict.findings[:0] = [*self._stuck, *findings]
        self._figures |= {
            "steps": load.steps,
            "transactions aborted": load.aborted,
            "acknowledged": len(load.acknowledged),
            "sent again by producers": load.failures,
            "task worker restarts": reporter.restarts,
            "worker processes": fleet.starts,
            "turns aborted": fleet.logged("turn_aborted"),
            "dead owners fenced": fleet.logged("fencing_dead_owner"),
            "rejoined": fleet.logged("rejoining"),
            "partitions paused": fleet.logged("partition_paused"),
            "stores wiped": fleet.logged("store_wiped"),
            "workers that ended by themselves": dict(fleet.ended_by_themselves),
        }
        return verdict
