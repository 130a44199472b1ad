"""The image and docker-compose.yml, as far as they can be read: no test here builds or starts a container."""

import json
import re
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from processors.fold.tally import Tally
from processors.runtime.group.readiness import Snapshot, State
from processors.runtime.turn.measures import Measures
from processors.worker.metrics import Metrics
from processors.worker.probes import Probes

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
WORKERS = {name: it for name, it in COMPOSE["services"].items() if it.get("command", [""])[0] == "worker"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> DockerfileParser:
    # The parser can write to the file that it reads.
    copy = tmp_path_factory.mktemp("docker") / "Dockerfile"
    copy.write_bytes((ROOT / "docker" / "Dockerfile").read_bytes())
    return DockerfileParser(str(copy))


def instructions(image: DockerfileParser, name: str) -> list[str]:
    return [it["value"] for it in image.structure if it["instruction"] == name]


def stages(image: DockerfileParser) -> list[list[tuple[str, str]]]:
    """Return what is copied and run in each image that is built."""
    found: list[list[tuple[str, str]]] = []
    for it in image.structure:
        if it["instruction"] == "FROM":
            found.append([])
        elif it["instruction"] in {"COPY", "RUN"}:
            found[-1].append((it["instruction"], it["value"]))
    return found


def is_pinned(reference: str) -> bool:
    """Return True if an image is named by its digest, or by a complete version."""
    return re.search(r"@sha256:[0-9a-f]{64}$|:v?\d+\.\d+\.\d+(-[a-z0-9.-]+)?$", reference) is not None


def test_every_image_is_pinned(image: DockerfileParser) -> None:
    assert image.parent_images
    theirs = [it["image"] for it in COMPOSE["services"].values() if "build" not in it]
    assert len(theirs) >= 4
    assert [it for it in (*image.parent_images, *theirs) if not is_pinned(it)] == []
    assert not any(map(is_pinned, ("python:3.13-slim", "python", "python:latest", "kafka:4.3")))


def test_dependencies_are_a_layer_that_the_code_does_not_touch(image: DockerfileParser) -> None:
    for steps, lock in zip(stages(image), ("build", "image"), strict=True):
        [locked] = [at for at, (_, value) in enumerate(steps) if "--require-hashes" in value]
        assert shlex.split(steps[locked][1])[-2:] == ["--requirement", f"requirements/{lock}.txt"]
        assert [value for kind, value in steps[:locked] if kind == "COPY"] == [f"requirements/{lock}.txt requirements/"]
        [ours] = [value for kind, value in steps[locked + 1 :] if kind == "RUN" and "pip " in value]
        assert "--no-deps" in shlex.split(ours)


def test_the_image_has_the_compiled_core_and_not_what_compiled_it(image: DockerfileParser) -> None:
    built, shipped = stages(image)
    [wheel] = [value for kind, value in built if kind == "RUN" and "pip wheel" in value]
    assert wheel.startswith("HALTER_CORE=compiled ")
    assert "--no-build-isolation" in shlex.split(wheel)
    assert [value for kind, value in shipped if kind == "COPY" and "--from" in value] == ["--from=wheel /wheel /wheel"]
    assert image.parent_images[-1].endswith("-slim-bookworm")


def test_the_context_has_what_is_copied_and_not_what_changes_by_itself(image: DockerfileParser) -> None:
    copies = [shlex.split(value) for value in instructions(image, "COPY") if not value.startswith("--from")]
    copied = {name for words in copies for name in words[:-1]}
    ignored, *allowed = [it for it in (ROOT / ".dockerignore").read_text().splitlines() if not it.startswith("#")]
    assert ignored == "*"
    assert {it.removeprefix("!") for it in allowed if it.startswith("!")} == copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {"**/__pycache__"} == {it for it in allowed if not it.startswith("!")}


def test_the_image_has_a_health_check_that_asks_whether_a_worker_is_alive(image: DockerfileParser) -> None:
    [check] = instructions(image, "HEALTHCHECK")
    command = json.loads(check.partition("CMD")[2])
    assert command == ["python", installed_at(image), "live"]
    assert image.envs["HALTER_HEALTH_PORT"].isdecimal()
    assert instructions(image, "USER") == ["halter"]


def test_compose_waits_until_its_workers_are_ready(image: DockerfileParser) -> None:
    assert len(WORKERS) >= 2
    for service in WORKERS.values():
        assert service["healthcheck"]["test"] == ["CMD", "python", installed_at(image), "ready"]
    # Everybody starts it with this command, and `--wait` is what waits.
    assert "docker compose up --build --wait" in (ROOT / "docker-compose.yml").read_text()


def installed_at(image: DockerfileParser) -> str:
    [place] = [it for it in instructions(image, "COPY") if it.startswith("docker/healthcheck.py ")]
    return shlex.split(place)[1] + "healthcheck.py"


# The health check, by the probes that workers answer.


@pytest.fixture(scope="module")
def healthcheck() -> ModuleType:
    spec = spec_from_file_location("healthcheck", ROOT / "docker" / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ports() -> tuple[int, int]:
    """Return two free ports, one directly above the other."""
    import socket

    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port, port + 1


Check = Callable[..., tuple[int, int]]


@pytest.fixture
def check(healthcheck: ModuleType, tmp_path: Path, ports: tuple[int, int]) -> Check:
    """Return the exit codes for (live, ready) in a container with these processes and these answers of workers."""

    def check(*commands: str, answering: tuple[State, ...] = ()) -> tuple[int, int]:
        for number, command in enumerate(commands, 1):
            (tmp_path / str(number)).mkdir()
            (tmp_path / str(number) / "cmdline").write_bytes(
                command.replace("PORT", str(ports[0])).replace(" ", "\0").encode() + b"\0"
            )
        (tmp_path / "meminfo").write_text("x")
        (tmp_path / "99").mkdir()  # a process that has ended
        environ = {"HALTER_HEALTH_PORT": str(ports[0])}

        with ExitStack() as served:
            for port, state in zip(ports, answering, strict=False):
                served.enter_context(
                    Probes(partial(Snapshot, state), Metrics(Snapshot, Measures(), Tally()).text, "127.0.0.1", port)
                )
            live, ready = (healthcheck.main(question, tmp_path, environ) for question in ("live", "ready"))
            return live, ready

    return check


WORKER = "/usr/local/bin/python /usr/local/bin/halter worker"


@pytest.mark.parametrize("command", [WORKER, f"/sbin/docker-init -- {WORKER}", f"{WORKER} --slot worker"])
def test_a_worker_is_asked_how_it_is(check: Check, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(command, answering=(State.FOLDING,)) == (0, 0)
    assert '"ready": true' in capsys.readouterr().out


def test_a_worker_that_waits_for_kafka_is_alive_and_not_ready(check: Check) -> None:
    assert check(WORKER, answering=(State.WAITING_FOR_KAFKA,)) == (0, 1)


def test_a_worker_that_does_not_answer_is_neither(check: Check) -> None:
    assert check(WORKER) == (1, 1)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ("", ("127.0.0.1", 1)),
        ("--health-port 2", ("127.0.0.1", 2)),
        ("--health-port=2", ("127.0.0.1", 2)),
        ("--health-port 2 --health-port=3", ("127.0.0.1", 3)),
        ("--health-host 0.0.0.0", ("127.0.0.1", 1)),
        ("--health-host=10.0.0.5", ("10.0.0.5", 1)),
        ("--health-host ::", ("::1", 1)),
    ],
)
def test_the_command_line_goes_before_the_settings_of_the_image(
    healthcheck: ModuleType, options: str, place: tuple[str, int]
) -> None:
    assert list(healthcheck.places_of(options.split(), {"HALTER_HEALTH_PORT": "1"})) == [place]


def test_of_several_processes_each_is_asked(check: Check) -> None:
    assert check(f"{WORKER} --processes 2", answering=(State.FOLDING, State.WAITING_FOR_KAFKA)) == (0, 1)


def test_of_several_processes_one_that_is_gone_is_missed(check: Check) -> None:
    supervised = "/usr/local/bin/python -P -m halter worker --slot a-0 --health-port PORT"
    assert check(f"{WORKER} --processes 2", supervised, answering=(State.FOLDING,)) == (1, 1)


@pytest.mark.parametrize("command", ["/usr/local/bin/python /usr/local/bin/halter topics apply --yes", "sleep 60"])
def test_a_container_that_runs_something_else_is_healthy(check: Check, command: str) -> None:
    assert check(command) == (0, 0)


def test_a_wf_run_named_worker_is_no_worker(check: Check) -> None:
    assert check("/usr/local/bin/python /usr/local/bin/halter show worker") == (0, 0)
