"""The machine that a figure was measured on."""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path


def _processor() -> str:
    return _line(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()


def _memory_gib() -> int:
    return round(int((_line(Path("/proc/meminfo"), "MemTotal") or "0").split()[0]) / 2**20)


def _line(file: Path, name: str) -> str | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


@dataclass(frozen=True)
class Machine:
    """This machine, without its name."""

    processor: str = field(default_factory=_processor)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory_gib: int = field(default_factory=_memory_gib)
    """The memory in bytes; 0 if the system does not tell."""
    system: str = field(default_factory=platform.system)
    python: str = field(default_factory=lambda: f"{platform.python_implementation()} {platform.python_version()}")

    def __str__(self) -> str:
        memory = f", {self.memory_gib} GiB" if self.memory_gib else ""
        return f"{self.processor}, {self.cores} cores{memory}, {self.system}"
