"""`python -m halter.broker.pin`: resolves Kafka's coordinates by Maven's rules, and pins the jars they resolve to.

Developers of Halter run it after COORDINATES in `jars.py` have changed. The result is reviewed and committed.
"""

import hashlib
import shutil
import sys

from jgo.maven import MavenContext

from halter.broker.errors import JarsUnfit
from halter.broker.jars import COORDINATES, PINS, cache_folder, maven_repository

HEAD = "# What COORDINATES in jars.py lead to: SHA-256, bytes, coordinate. Written by `python -m halter.broker.pin`.\n"


def main() -> None:
    """Download every jar of the class path, and write its hash, size and coordinate. Raises JarsUnfit."""
    staging = cache_folder() / "pinning"
    shutil.rmtree(staging, ignore_errors=True)
    context = MavenContext(repo_cache=staging, remote_repos={"repository": maven_repository()})
    roots, transitive = context.resolver.resolve([context.create_dependency(name) for name in COORDINATES])
    needed = [dependency for dependency in transitive if dependency.scope in {"compile", "runtime"}]
    lines = []
    for dependency in [*roots, *needed]:
        if dependency.type != "jar" or dependency.classifier:
            raise JarsUnfit(f"expected plain jars, found {dependency}")
        content = dependency.artifact.resolve().read_bytes()
        coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {coordinate}\n")
    PINS.write_text(HEAD + "".join(sorted(lines, key=lambda line: line.split()[2])), encoding="utf-8")
    shutil.rmtree(staging)
    sys.stderr.write(f"pinned {len(lines)} jars in {PINS}\n")


if __name__ == "__main__":
    main()
