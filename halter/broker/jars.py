"""Downloads Kafka's jars into the cache.

`kafka-jars.txt` beside this file pins every jar that COORDINATES resolve to, with its size and SHA-256. So a start
reads no POM files, the size of a download is known before it begins, a truncated or tampered file is detected, and
everybody runs the same broker.

A file is moved into the cache after its hash was checked. An interrupted download leaves nothing that looks like a
jar, and the next start downloads what is missing. A file lock lets one process download while others wait.

`python -m halter.broker.pin` writes new pins after COORDINATES have changed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from halter.broker.errors import JarsMissing

KAFKA_VERSION = "4.3.1"
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
PINS = Path(__file__).with_name("kafka-jars.txt")
DOWNLOADS_AT_ONCE = 4
ATTEMPTS_PER_JAR = 3
ANSWER_TIMEOUT_SECONDS = 30

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: its SHA-256, its size in bytes, and its Maven coordinate."""

    sha256: str
    size: int
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def is_whole(self, folder: Path) -> bool:
        """Return True if the cache has the whole file. Its hash was checked before; a file cut off is too small."""
        path = folder / self.file_name
        return path.is_file() and path.stat().st_size == self.size


def pinned_jars(pins: Path = PINS) -> list[Jar]:
    """Read pins, those of Kafka by default. Each line is one jar: `SHA-256 size group:artifact:version`."""
    jars = []
    for line in pins.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinate = line.split()
            jars.append(Jar(sha256, int(size), *coordinate.split(":")))
    return jars


def cache_folder() -> Path:
    """Return the folder for downloads: HALTER_CACHE, else `halter` in XDG_CACHE_HOME, else in ~/.cache."""
    if named := os.environ.get("HALTER_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "halter"


def maven_repository() -> str:
    """Return the repository to download from: HALTER_MAVEN_REPOSITORY, else the user's Maven mirror, else Central."""
    named = os.environ.get("HALTER_MAVEN_REPOSITORY") or mirror_of_central(Path.home() / ".m2" / "settings.xml")
    if named:
        return named.rstrip("/")
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL)


def mirror_of_central(settings: Path) -> str | None:
    """Return the mirror of the central repository that a Maven settings file names; None if it names none.

    The rules are Maven's: a mirror that names `central` wins over a wildcard, `!central` excludes, and the first of
    equals is taken. `${env.NAME}` is replaced. A file that is no XML is ignored: it is not ours to complain about.
    """
    try:
        root = ET.parse(settings).getroot()  # noqa: S314  the user's own file
    except (OSError, ET.ParseError):
        return None
    wildcard = None
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        url = (mirror.findtext("{*}url") or "").strip()
        names = [name.strip() for name in (mirror.findtext("{*}mirrorOf") or "").split(",")]
        if not url or "!central" in names:
            continue
        url = re.sub(r"\$\{env\.(\w+)\}", lambda match: os.environ.get(match[1], ""), url)
        if "central" in names:
            return url
        if wildcard is None and ("*" in names or "external:*" in names):
            wildcard = url
    return wildcard


def kafka_jars(report: Report) -> list[Path]:
    """Return the jars of Kafka's class path. Those that are not in the cache are downloaded.

    `report` gets a sentence whenever there is a wait. Raises JarsMissing.
    """
    jars = pinned_jars()
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    if not all(jar.is_whole(folder) for jar in jars):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with sole_downloader(folder, report):
                # Another process may have downloaded them while we waited for the lock.
                if missing := [jar for jar in jars if not jar.is_whole(folder)]:
                    download(missing, folder, report)
        except OSError as error:
            raise JarsMissing(
                f"cannot keep Kafka's jars in {folder}: {error.strerror or error}; "
                "name another folder with HALTER_CACHE"
            ) from error
    return [folder / jar.file_name for jar in jars]


@contextmanager
def sole_downloader(folder: Path, report: Report) -> Iterator[None]:
    """Hold the lock of a cache folder. The system releases it when this process ends, however it ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that downloads Kafka to {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def download(missing: list[Jar], folder: Path, report: Report) -> None:
    """Download jars side by side, check each and move it into the cache. Raises JarsMissing; jars that came stay."""
    repository = maven_repository()
    host = urlsplit(repository).hostname or repository
    megabytes_in_all = sum(jar.size for jar in missing) / 1e6
    report(
        f"downloading Apache Kafka {KAFKA_VERSION}, once: {len(missing)} jars, {megabytes_in_all:.0f} MB, "
        f"from {host} to {folder}"
    )
    staging = folder / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    megabytes, reported = 0.0, 0.0
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="kafka-jars")
    try:
        # The largest first, so that the end is not one thread waiting for one big file.
        largest_first = sorted(missing, key=lambda jar: -jar.size)
        downloads = {pool.submit(fetch, jar, repository, staging, folder): jar for jar in largest_first}
        for done in as_completed(downloads):
            try:
                done.result()
            except Exception as error:
                still_missing = sum(not jar.is_whole(folder) for jar in missing)
                raise JarsMissing(
                    f"cannot download {downloads[done].file_name} from {host}: {in_short(error)}. {still_missing} of "
                    f"Kafka's jars are still missing in {folder}; those already downloaded are kept. Check the network "
                    "or proxy and start again; or name a Maven mirror with HALTER_MAVEN_REPOSITORY=URL; or copy that "
                    "folder from a machine that has it (HALTER_CACHE names another place for it)"
                ) from error
            megabytes += downloads[done].size / 1e6
            if megabytes - reported >= 10:
                reported = megabytes
                report(f"downloading Apache Kafka: {megabytes:.0f} of {megabytes_in_all:.0f} MB")
        report("downloading Apache Kafka: done")
    finally:
        # Also on Ctrl-C: do not begin the downloads that are still queued.
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(staging, ignore_errors=True)


def fetch(jar: Jar, repository: str, staging: Path, folder: Path) -> None:
    """Download one jar into the cache. Raises the error of the last attempt."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=staging, remote_repos={"repository": repository}, timeout=ANSWER_TIMEOUT_SECONDS)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    for attempt in range(1, ATTEMPTS_PER_JAR + 1):
        try:
            path = component.artifact().resolve()
            expect_hash(path, jar.sha256)
            path.replace(folder / jar.file_name)
            return
        except Exception:
            # jgo takes any file there for complete, even one that a broken connection left.
            with suppress(OSError):
                shutil.rmtree(staging / component.path_prefix)
            if attempt == ATTEMPTS_PER_JAR:
                raise
            time.sleep(0.5 * attempt)


def expect_hash(path: Path, sha256: str) -> None:
    """Raise JarsMissing if a file does not have the pinned hash."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise JarsMissing(f"expected a file with SHA-256 {sha256}, found one with {found}")


def in_short(error: Exception) -> str:
    """Return the message of an error without the object addresses that HTTP libraries print."""
    text = re.sub(r"<[^<>]* object at 0x[0-9a-f]+>:? ?", "", str(error))
    return text if len(text) <= 300 else f"{text[:300]}…"
