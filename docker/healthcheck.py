"""HEALTHCHECK of the image: asks the workers of this container whether they are well. Exit code 0 means yes, 1 no.

    python healthcheck.py [live|ready]

Only workers answer probes. A container that runs another command counts as well while it runs. This script knows the
command lines of the processes here and the standard library, and imports nothing of Halter.
"""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

LOOPBACK = "127.0.0.1"
ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}
"""The address to ask if a worker listens at every address of the machine."""
ANSWER_SECONDS = 3.0


def main(question: str, proc: Path, environ: Mapping[str, str]) -> int:
    """Ask every worker, and print the answers for `docker inspect`."""
    places = sorted({place for words in workers(proc) for place in places_of(words, environ)})
    answers = [ask(host, port, question) for host, port in places]
    for _, said in answers:
        print(said)
    return 0 if all(well for well, _ in answers) else 1


def workers(proc: Path) -> Iterator[list[str]]:
    """Yield the words after `halter worker` of each process that is a worker, or that supervises some."""
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile, or belongs to another user
        for at, (word, command) in enumerate(pairwise(words)):
            if word.rpartition("/")[2] == "halter" and command == "worker":
                yield words[at + 2 :]


def places_of(words: list[str], environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield host and port at which each process of a worker answers."""
    host = option(words, "--health-host") or environ.get("HALTER_HEALTH_HOST") or LOOPBACK
    first = int(option(words, "--health-port") or environ["HALTER_HEALTH_PORT"])
    for port in range(first, first + int(option(words, "--processes") or 1)):
        yield ANY.get(host, host), port


def option(words: list[str], name: str) -> str | None:
    """Return the value of an option, the last one if it is given twice."""
    values = [value for word, value in pairwise(words) if word == name]
    values += [word.removeprefix(f"{name}=") for word in words if word.startswith(f"{name}=")]
    return values[-1] if values else None


def ask(host: str, port: int, question: str) -> tuple[bool, str]:
    """Return True if a worker answers yes, and its answer."""
    url = f"http://[{host}]:{port}/{question}" if ":" in host else f"http://{host}:{port}/{question}"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return True, answer.read().decode()
    except urllib.error.HTTPError as no:
        return False, no.read().decode()
    except OSError as error:
        return False, f"{url}: {error}"


if __name__ == "__main__":
    sys.exit(main((sys.argv[1:] or ["live"])[0], Path("/proc"), os.environ))
