"""Builds a release into `dist/` and checks it: `make release`. It publishes nothing (docs/releasing.md).

What cannot be mended without another commit (the changelog, files that are not committed) is looked at first. It does
not stop the rest, so that one run says everything; with `--trial` it is not looked at. Exit code: 0 if all is well.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence

from release.archives import contents, metadata, same_files
from release.building import PROJECT, ROOT, build
from release.tree import not_ready, undecided
from release.trying import CASES, tried


def main() -> int:
    """Build, check, print."""
    parser = argparse.ArgumentParser(prog="make release", description="Build a release into dist/ and check it.")
    parser.add_argument("--trial", action="store_true", help="do not ask whether this commit may be released")
    parser.add_argument("--no-demo", action="store_true", help="start no Kafka: leave `halter demo` out")
    options = parser.parse_args()
    folder, version = ROOT / "dist", PROJECT["version"]
    problems = [] if options.trial else list(not_ready(version))

    say(f"building {PROJECT['name']} {version} (the compiled wheel takes three minutes)")
    shutil.rmtree(folder, ignore_errors=True)
    archives = build(folder)
    for archive in archives.all:
        say(f"{archive.stat().st_size / 1e6:7.1f} MB  dist/{archive.name}")
        problems += [f"{archive.name}: {it}" for it in (*metadata(archive, PROJECT), *contents(archive))]
    problems += same_files(archives.pure, archives.compiled)

    say("installing each in an empty environment (MB: its packages, without pip)")
    for case in CASES:
        if case.needs_kafka and options.no_demo:
            continue
        result = tried(case, archives)
        say(f"{result.megabytes:7.1f} MB  {case.what}  {'FAILED' if result.problems else 'ok'}")
        problems += [f"{case.what}: {it}" for it in result.problems]
    report(problems, list(undecided(archives)))
    return 1 if problems else 0


def report(problems: Sequence[str], open_points: Sequence[str]) -> None:
    """Print what is wrong, and what a person has to decide."""
    for it in open_points:
        say(f"to decide before it is published: {it}")
    for it in problems:
        print(f"release: {it}", file=sys.stderr)
    say("not to be published, see above" if problems else "checked; docs/releasing.md says how it is published")


def say(line: str) -> None:
    """Print a line at once: a run takes minutes."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
