"""Measures the command line: the time and the CPU of a command until its first output, and until its process has ended.

    python -m bench.command_line [--partitions 8] [--runs 15]

Each command is a process of its own, whose output goes to a pipe. The machine is warm: a worker runs, the WfRun is
there, and each command has run once before, so that Python has its bytecode, as an installation has it. The CPU is that
of the command's process, all threads, user and system.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import Figures
from bench.house import House, cpu_seconds
from halter.broker import EmbeddedBroker
from tests.support.halter_processes import ROOT

TARGET_S = 0.4
"""The target for `show`, `send` and `history`: seconds until the first output."""
CART = "examples/cart/cart.yaml"
OF_THE_CART = ("--var", "customer=Ann", "--var", "card=4111111111111111")
COMMANDS = {
    "--help": ("--help",),
    "spec check": ("spec", "check", CART),
    "run": ("run", "cart", *OF_THE_CART),
    "show": ("show", "cart-1"),
    "send": ("send", "cart-1", "address-changed", "12 Harbour Street"),
    "history": ("history", "cart-1"),
}
WITH_A_TARGET = ("show", "send", "history")


def run(
    environment: dict[str, str], figures: Figures | None, name: str, arguments: tuple[str, ...], target: str
) -> None:
    """Run a command, and note what it took; nothing is noted without figures."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "halter", *arguments]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.read1(1)
    first_s, first_cpu_s = time.perf_counter() - begun, cpu_seconds(process.pid)
    process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert first, f"{name}: no output"
    assert process.returncode == 0, f"{name}: exit code {process.returncode}"
    if figures is not None:
        figures.add(f"halter {name}: to the first output", "s", first_s, target)
        figures.add(f"halter {name}: CPU to the first output", "s", first_cpu_s)
        figures.add(f"halter {name}: to the end", "s", seconds)
        figures.add(f"halter {name}: CPU to the end", "s", used.ru_utime + used.ru_stime)


def measure(figures: Figures, kafka: EmbeddedBroker, folder: Path, partitions: int, runs: int) -> None:
    """Measure every command in one installation. They take turns, so what disturbs one disturbs all."""
    house = House(kafka, folder, partitions)
    # Without bytecode on the disk, three quarters of the time would be Python's compiler.
    environment = {**house.environment, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with house.running():
        for prepare in (("spec", "put", CART), ("run", "cart", "--id", "cart-1", *OF_THE_CART)):
            assert house.command(*prepare).returncode == 0
        for number in range(-1, runs):  # the first run warms up
            for name, arguments in COMMANDS.items():
                target = f"≤ {TARGET_S}" if name in WITH_A_TARGET else ""
                run(environment, None if number < 0 else figures, name, arguments, target)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="halter-bench-") as name:
        folder = Path(name)
        with EmbeddedBroker(folder / "kafka") as kafka:
            measure(figures, kafka, folder, given.partitions, given.runs)
    print(figures.table())


if __name__ == "__main__":
    main()
