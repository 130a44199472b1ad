"""Starts parts in order, starts again what ends, and ends all: on a signal, or when a part cannot live.

Every process ends with this one, even by SIGKILL (`halter.processes.leash`). A part that ends is started again, each
time after a longer wait. One that keeps ending without having worked in between is given up, and all end with it,
unless it is a program of the user: that one waits for the user.
"""

import re
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from halter.broker.configuration import HOST
from halter.processes.actor import STOP_SECONDS, Actor, ProcessEnded, Say
from halter.processes.children import how_it_ended, leashed
from halter.processes.restarting import RestartPolicy, Steadiness
from halter.processes.supervisor import USAGE_EXIT_CODE
from halter.up.parts import Part, state_of

POLICY: Final = RestartPolicy(first_wait=1.0)
YOURS_WAIT_MAX: Final = 4.0
"""Whoever has mended a program of theirs sees it run within so many seconds."""
LOOK_SECONDS: Final = 0.1
LINK: Final = re.compile(r"https?://\S+/login\?token=\S+")
"""What a console prints for whoever started it."""


class Server(Actor):
    """A process that is ready when it listens at a port."""

    def __init__(self, part: Part, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._port, self._listens = part.port, False
        super().__init__(part.name, command, folder, environment, takes_ready_file=False)

    @property
    def ready(self) -> Mapping[str, Any] | None:
        """Nothing in particular; None until it listens. Once it does it is not asked again."""
        if not self._listens and self.is_running:
            with socket.socket() as probe:
                self._listens = probe.connect_ex((HOST, self._port)) == 0
        return {} if self._listens and self.is_running else None


class Kept:
    """A part that is kept running."""

    def __init__(self, part: Part, actor: Actor, policy: RestartPolicy) -> None:
        self.part, self.actor, self._policy = part, actor, policy
        self.deaths = 0
        self.again_at: float | None = None
        """When it is started again; None while it runs."""
        self.steadiness = Steadiness(policy.steady)
        self.told = ""
        """What it said when it ended, as it was told last."""

    @property
    def state(self) -> str:
        """How it is, in words."""
        if self.again_at is not None:
            return "ended, starts again"
        ready = self.actor.ready
        return "starting" if ready is None else state_of(self.part.name, ready)


class Tree:
    """The processes of a tree. Use it from the main thread: processes end with the thread that started them."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        say: Say,
        policy: RestartPolicy = POLICY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` has the logs. The processes get `environment` and nothing else."""
        self._folder, self.environment, self._say = folder, dict(environment), say
        self._policy, self._clock = policy, clock
        self._kept: dict[str, Kept] = {}

    def start(self, part: Part) -> None:
        """Start a part, and return at once."""
        self._kept[part.name] = Kept(part, self._started(part), self._policy)

    def kept(self, name: str) -> Kept:
        """Return a part by its name."""
        return self._kept[name]

    def adopt(self, part: Part, actor: Actor) -> None:
        """Keep a part running that somebody else has started."""
        self._kept[part.name] = Kept(part, actor, self._policy)

    def wait_ready(self, name: str) -> Mapping[str, object]:
        """Wait until a part is ready, and return what it says. Raises ProcessEnded if it ends before."""
        kept = self._kept[name]
        return kept.actor.wait_ready(kept.part.ready_s, self._say)

    def wait_all_ready(self, names: Collection[str], show: Callable[[], None]) -> None:
        """Wait until parts are ready, and show how they are meanwhile. Raises ProcessEnded if one ends before.

        Not for those of the user: what is wrong with them may be mended later.
        """
        for name in (it for it in names if not self._kept[it].part.is_yours):
            actor, ready_s = self._kept[name].actor, self._kept[name].part.ready_s
            deadline = self._clock() + ready_s
            while actor.ready is None and actor.is_running:
                if self._clock() > deadline:
                    raise ProcessEnded(f"the {name} was not ready within {ready_s:.0f} s:\n{actor.log_end()}")
                show()
                time.sleep(LOOK_SECONDS)
            actor.wait_ready(ready_s, self._say)

    def _started(self, part: Part) -> Actor:
        command = leashed(part.command)
        if part.port is not None:
            return Server(part, command, self._folder, self.environment)
        return Actor(part.name, command, self._folder, self.environment)

    @property
    def folder(self) -> Path:
        """The folder of the logs."""
        return self._folder

    @property
    def console_link(self) -> str | None:
        """Where the console is; with the token, if it has one for who may act. None without a console."""
        if (kept := self._kept.get("console")) is None:
            return None
        links = LINK.findall(kept.actor.log())
        return links[-1] if links else f"http://{HOST}:{kept.part.port}"

    @property
    def states(self) -> dict[str, str]:
        """How each part is, in words, in the order in which they were started."""
        return {name: kept.state for name, kept in self._kept.items()}

    def look(self) -> None:
        """Note what has ended, and start it again when that is due. Never waits. Raises ProcessEnded to give up."""
        for kept in self._kept.values():
            now = self._clock()
            if kept.actor.is_running:
                kept.steadiness.seen(kept.actor.ready is not None, now)
            elif kept.again_at is None:
                self._note_end(kept, now)
            elif now >= kept.again_at:
                kept.again_at, kept.steadiness = None, Steadiness(self._policy.steady)
                kept.actor = self._started(kept.part)

    def _note_end(self, kept: Kept, now: float) -> None:
        code, name = kept.actor.process.returncode, kept.part.name
        kept.deaths = 1 if kept.steadiness.proved else kept.deaths + 1
        how = how_it_ended(code)
        if kept.part.is_yours and code != USAGE_EXIT_CODE:
            self._note_end_of_yours(kept, how, now)
            return
        if kept.deaths >= self._policy.deaths_max or code == USAGE_EXIT_CODE:
            times = f", {kept.deaths} times in a row" if kept.deaths > 1 else ""
            raise ProcessEnded(f"the {name} {how}{times}, so all end:\n{kept.actor.log_end()}")
        wait = self._policy.wait(kept.deaths)
        kept.again_at = now + wait
        self._say(f"the {name} {how}, and starts again in {wait:g} s; its log: {kept.actor.log_file}")

    def _note_end_of_yours(self, kept: Kept, how: str, now: float) -> None:
        wait = min(self._policy.wait(kept.deaths), YOURS_WAIT_MAX)
        kept.again_at, said = now + wait, kept.actor.last_words()
        if said != kept.told or kept.deaths == 1:  # it says the same each time until somebody mends it
            log = f"its log: {kept.actor.log_file}"
            self._say(f"the {kept.part.name} {how}, and starts again until it goes on running; {log}:\n{said}")
        kept.told = said

    def stop(self) -> None:
        """End all parts: the broker last, as the others would log errors if it ended before them."""
        parts = [kept.actor for kept in self._kept.values() if kept.actor.is_running]
        first = [actor for actor in parts if actor.name != "broker"]
        for actor in first:
            actor.process.terminate()
        deadline = self._clock() + STOP_SECONDS
        while any(actor.is_running for actor in first) and self._clock() < deadline:
            time.sleep(LOOK_SECONDS)
        for actor in parts:
            if actor in first and actor.is_running:
                self._say(f"the {actor.name} did not end in {STOP_SECONDS:.0f} s, and was killed")
                actor.kill()
            elif actor.is_running:
                actor.stop()
