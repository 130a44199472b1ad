"""Installs archives in empty environments, as their users do, and tries what they are installed for.

pip uses its own settings (index, mirror, certificates), and the versions of the lock. Only Halter itself comes from
`dist/`.
"""

import os
import re
import subprocess
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.building import PROJECT, ROOT, Archives

SECONDS = 600
"""The time that one command may take."""
OURS = ("PYTHON", "KAFKA_", "HALTER_", "VIRTUAL_ENV")
"""How the variables begin that are not for an environment of its own."""
CLIENT = """
from halter import Client, KafkaUnavailable, TaskWorker

worker = TaskWorker()


@worker.task("charge-card")
def charge_card(card: str, cents: int) -> str:
    return card


with Client("127.0.0.1:1") as client:
    for ask in (lambda: client.run("cart", {"customer": "Ann"}), lambda: worker.run(client)):
        try:
            ask()
        except KafkaUnavailable as unavailable:
            print(unavailable.code)
"""
CART = "import sys; from processors.codec.resources import resource; print(resource('examples/cart/cart.yaml'))"


@dataclass(frozen=True)
class Try:
    """A command in an environment, and what it must say. `{cart}` is the WfSpec that Halter carries."""

    words: Sequence[str]
    says: str
    exit_code: int = 0


@dataclass(frozen=True)
class Case:
    """One installation: an archive (a field of Archives) with some extras, and what is tried with it."""

    archive: str
    extras: str
    tries: Sequence[Try]

    @property
    def what(self) -> str:
        """The case in a few words."""
        kind = "archive" if self.archive == "source" else "wheel"
        return f"{PROJECT['name']}{self.extras and f'[{self.extras}]'} of the {self.archive} {kind}"

    @property
    def needs_kafka(self) -> bool:
        """Say whether it starts a Kafka."""
        return any(it.words[:2] == ("halter", "demo") for it in self.tries)


@dataclass(frozen=True)
class Result:
    """What came of a case: the size of all packages without pip's, and what went wrong."""

    megabytes: float
    problems: Sequence[str]


def _needs(words: Sequence[str], extra: str) -> Try:
    return Try(words, re.escape(f"pip install '{PROJECT['name']}[{extra}]'"), 1)


VERSION = re.escape(PROJECT["version"])
USES = Try(("python", "-c", CLIENT), r"KAFKA_UNAVAILABLE\n(.*\n)*KAFKA_UNAVAILABLE")
MAKES_A_VIEW = """
from halter.view.place import open_view, revision_of

with open_view("made.db", writable=True).write() as connection:
    print(revision_of(connection))
"""
"""The migrations are in the package: a new database gets the tables."""
CHECKS = (
    Try(("halter", "spec", "check", "{cart}"), "cart"),
    Try(("halter", "--help"), "interrupt"),
)
CASES = (
    Case("pure", "", (USES, _needs(("halter", "--version"), "cli"), _needs(("python", "-m", "halter"), "cli"))),
    Case("compiled", "", (USES,)),
    Case("source", "", (USES,)),
    Case(
        "pure",
        "cli",
        (
            Try(("halter", "--version"), rf"halter {VERSION} \(core in Python\)"),
            *CHECKS,
            _needs(("halter", "worker"), "engine"),
            _needs(("halter", "broker"), "broker"),
            _needs(("halter", "demo"), "all"),
        ),
    ),
    Case(
        "pure",
        "engine",
        (
            Try(("python", "-c", "import processors.worker.app, uvloop; print('ok')"), "ok"),
            _needs(("halter", "broker"), "broker"),
        ),
    ),
    Case(
        "pure",
        "broker",
        (Try(("halter", "broker", "--download-only"), "is complete"), _needs(("halter", "worker"), "engine")),
    ),
    Case(
        "pure",
        "testing",
        (
            Try(
                ("python", "-m", "pytest", "-p", "no:cacheprovider", "{folder}"),
                r"cart\.scenario\.yaml(.*\n)*.* passed",
            ),
            *CHECKS,
        ),
    ),
    Case(
        "pure",
        "view",
        (
            Try(("python", "-c", MAKES_A_VIEW), "0001"),
            Try(("halter", "view", "status", "--url", "none.db"), "there is no file", 1),
            Try(("halter", "view", "--url", "v.db", "-b", "127.0.0.1:1"), "127.0.0.1:1", 1),
            *CHECKS,
        ),
    ),
    Case(
        "pure", "console", (Try(("halter", "console", "--host", "0.0.0.0"), "expected a login, found none", 1), *CHECKS)
    ),
    Case("pure", "all", (*CHECKS, Try(("halter", "demo", "--records", "400"), "CHECK PASSED"))),
    Case(
        "compiled",
        "all",
        (
            Try(("halter", "--version"), rf"halter {VERSION} \(compiled core\)"),
            *CHECKS,
            Try(("halter", "demo", "--records", "400"), "CHECK PASSED"),
        ),
    ),
)


def tried(case: Case, archives: Archives) -> Result:
    """Install what a case says in an empty environment, and try it."""
    with tempfile.TemporaryDirectory(prefix="halter-release-") as temporary:
        folder = Path(temporary, "venv")
        venv.create(folder, with_pip=True, symlinks=True)
        programs = folder / "bin"
        packages = next((folder / "lib").glob("python*/site-packages"))
        before = size(packages)
        constraints = Path(temporary, "constraints.txt")
        constraints.write_text("\n".join(versions()) + "\n", encoding="utf-8")
        archive: Path = getattr(archives, case.archive)
        wanted = f"{archive}{case.extras and f'[{case.extras}]'}"
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        installed = run([*pip, "--constraint", str(constraints), wanted], temporary, {"HALTER_CORE": "python"})
        if installed.returncode != 0:
            return Result(0.0, [f"pip cannot install it: {installed.stderr.strip()[-2_000:]}"])
        megabytes = (size(packages) - before) / 1e6
        cart = run([str(programs / "python"), "-c", CART], temporary).stdout.strip()
        problems = []
        for it in case.tries:
            words = [word.replace("{cart}", cart).replace("{folder}", str(Path(cart).parent)) for word in it.words]
            done = run([str(programs / words[0]), *words[1:]], temporary)
            said = done.stdout + done.stderr
            if done.returncode != it.exit_code or not re.search(it.says, said):
                shown = " ".join(words) if len(" ".join(words)) < 100 else f"{words[0]} {words[1]} ..."
                expected = f"expected exit code {it.exit_code} and '{it.says}'"
                problems.append(f"{shown}: {expected}, found {done.returncode} and {said.strip()[-2_000:]}")
        return Result(megabytes, problems)


def run(command: Sequence[str], folder: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that has no packages, without our variables."""
    kept = {it: value for it, value in os.environ.items() if not it.startswith(OURS)}
    kept |= {it: os.environ[it] for it in ("HALTER_CACHE", "HALTER_MAVEN_REPOSITORY") if it in os.environ}
    return subprocess.run(
        command, cwd=folder, env={**kept, **(more or {})}, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def versions() -> list[str]:
    """Return the versions of the lock, as constraints."""
    lock = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    return re.findall(r"^([a-zA-Z0-9][^\s;]*==[^\s;]+)", lock, re.MULTILINE)


def size(folder: Path) -> int:
    """Return what the files of a folder take on disk, in bytes."""
    return sum(it.lstat().st_blocks * 512 for it in folder.rglob("*") if it.is_file())
