"""`halter explore`: tries every order of inputs on a WfSpec, within bounds, and prints what it found."""

import gc
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.printing import print_line
from halter.cli.usage import UsageMistake
from halter.cli.workflows import source_named
from processors.core.records.errors import HalterError

if TYPE_CHECKING:
    from halter.explore.claims import Claims
    from halter.explore.findings import Finding
    from halter.explore.inputs import Bounds, Input
    from halter.explore.samples import Given, Samples
    from halter.explore.search import Covered, Report, Tell
    from halter.explore.subject import Subject
    from halter.show.masking import Secrets


class WrongClaims(HalterError):
    """A document of claims is not valid. Its author corrects it; the message has one line for each problem."""


class FolderInUse(HalterError):
    """The folder for scenario documents has other files in it, or cannot be written. Whoever named it names another."""


def explore(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="The WfSpec and its definitions, YAML or JSON; or MODULE:NAME of a Workflow in Python. '-' is "
            "standard input.",
        ),
    ],
    spec: Annotated[
        str | None, typer.Option("--spec", metavar="NAME", help="The WfSpec to explore, if there are several.")
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option("--claims", metavar="FILE", help="What must never, always or eventually be so; values to try."),
    ] = None,
    events: Annotated[
        int, typer.Option("--events", metavar="K", min=0, max=100, help="How often each ExternalEvent may come.")
    ] = 1,
    before: Annotated[
        int, typer.Option("--before", metavar="N", min=0, max=100, help="How many may come before the WfRun starts.")
    ] = 0,
    stops: Annotated[
        int, typer.Option("--stops", metavar="N", min=0, max=100, help="How many threads may be stopped and resumed.")
    ] = 0,
    between: Annotated[
        bool, typer.Option("--between", help="Let inputs come just before a timer too, not only right after one.")
    ] = False,
    by_key: Annotated[
        bool,
        typer.Option(
            "--by-key", help="Let ExternalEvents that have a correlation key come by it: only while the WfRun has one."
        ),
    ] = False,
    states: Annotated[
        int, typer.Option("--states", metavar="N", min=1, help="Stop after this number of states.")
    ] = 100_000,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=1, help="Look at paths of at most this many inputs.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=256, help="Search in this number of processes.")
    ] = 1,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Write each finding there as a scenario document."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Try every order of inputs on a WfSpec, and print what can go wrong.

    It runs the rules of the engine in memory, with no Kafka. From each state it tries every ExternalEvent, every result
    of every task attempt, and the next timer, within the bounds. It finds the shortest way to each thing that it
    reports.

    Problems are: a claim that does not hold, a thread that can never go on, a Variable that is read before anything
    wrote it, and what never happens: ThreadSpecs, nodes, interrupts, conditions. Notes are ends that may be meant: a
    failure that ends the WfRun, an interrupt that is dropped, an ExternalEvent that nothing takes.

    Exit code 1 if there is a problem, 0 if there are only notes. 'halter scenario run' confirms what -o wrote.
    """
    from halter.explore.inputs import Bounds
    from halter.explore.samples import samples_of
    from halter.explore.search import Search
    from halter.explore.subject import subject_of
    from halter.explore.workers import can_fork
    from halter.explore.workers import explore as in_processes
    from halter.files.definition_files import read_definition_files
    from halter.show.masking import Secrets

    if workers > 1 and not can_fork():
        raise UsageMistake("--workers: expected a system that can fork processes, found one that cannot; leave it out")
    definitions = read_definition_files([source_named(it) for it in files])
    subject = subject_of([it.command for it in definitions], spec)
    claimed, given = _read(claims, subject)
    if folder is not None:
        _make(folder)
    bounds = Bounds(events, before, stops, between, by_key)
    samples = samples_of(subject.spec, subject.context.definitions, given)
    search = Search(subject, samples, bounds, claimed)
    began = time.monotonic()
    # Millions of objects stay, and none of them is in a cycle. Looking for cycles would take a third of the time.
    gc.disable()
    try:
        with _progress(states) as tell:
            if workers == 1:
                report = search.explore(states, depth, tell)
            else:
                report = in_processes(search, workers, states, depth, tell)
    finally:
        gc.enable()
    seconds = time.monotonic() - began
    written = {} if folder is None else _write(folder, report.findings, subject)
    secrets = Secrets.of(subject.spec)
    if as_json:
        data = _as_data(subject, bounds, report, seconds, written, secrets)
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        for line in _lines(subject, bounds, report, seconds, written, _Words(subject, samples, secrets)):
            print_line(line)
    if any(finding.is_problem for finding in report.findings):
        raise typer.Exit(1)


def _read(file: Path | None, subject: "Subject") -> "tuple[Claims, Given]":
    from halter.explore.claims import Claims
    from halter.explore.claims_document import read_claims
    from halter.explore.samples import Given
    from halter.files.yaml_files import read_yaml

    if file is None:
        return Claims(), Given()
    document = read_yaml(file)
    found, given, problems = read_claims(document.data, subject)
    if problems:
        raise WrongClaims("\n".join(str(document.problem(it.path, str(it), it.code)) for it in problems))
    return found, given


def _make(folder: Path) -> None:
    """Make the folder; findings of an earlier run in it would be taken for findings of this one."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderInUse(f"-o: expected a folder that is new or empty, found {folder}: remove it, or name another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderInUse(f"-o: the folder {folder} cannot be made: {error.strerror}") from error


@contextmanager
def _progress(states_max: int) -> "Iterator[Tell | None]":
    """Show what is covered so far on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
    # Without a thread of its own, because workers are forks of this process.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("the first states", total=states_max)

        def tell(covered: "Covered", findings: int) -> None:
            ahead = f"{covered.waiting:,} to look at, depth {covered.depth}"
            words = f"{covered.states:,} states, {ahead}, {findings} found"
            progress.update(bar, completed=covered.states, description=words, refresh=True)

        yield tell


def _write(folder: Path, findings: "Sequence[Finding]", subject: "Subject") -> dict[int, Path]:
    """Write the findings that have a path; return the file of each, by its place among the findings."""
    from halter.explore.documents import document_of
    from halter.scenarios.writing import text_of

    written: dict[int, Path] = {}
    head = subject.head()
    for place, finding in enumerate(findings):
        document = document_of(finding, head)
        if document is not None:
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", finding.name)[:80].strip("-.")
            written[place] = folder / f"{place + 1:02}-{name}.yaml"
            try:
                written[place].write_text(text_of(document), encoding="utf-8")
            except OSError as error:
                raise FolderInUse(f"-o: {written[place]} cannot be written: {error.strerror}") from error
    return written


def _lines(
    subject: "Subject",
    bounds: "Bounds",
    report: "Report",
    seconds: float,
    written: Mapping[int, Path],
    words: "_Words",
) -> Iterator[str]:
    covered = report.covered
    yield f"WfSpec {subject.spec.name}: {_extent(covered)}"
    rate = f", {covered.states / seconds:,.0f} states/s" if seconds > 0.5 else ""
    yield f"  {covered.states:,} states, {covered.inputs:,} inputs, paths of up to {covered.depth} inputs{rate}"
    yield f"  Bounds: {_bounds(bounds)}"
    if subject.assumed:
        yield f"  Assumed without a type, because the files do not define them: {', '.join(subject.assumed)}"
    if covered.unprobed:
        kinds = f"{covered.unprobed} kind{'s' * (covered.unprobed != 1)} of waiting states"
        yield f"  Not decided, because there was too much to try: whether the threads in {kinds} can go on"
    for title, chosen in (("Problems", True), ("Notes", False)):
        findings = [(place, it) for place, it in enumerate(report.findings) if it.is_problem is chosen]
        yield ""
        yield f"{title}: {len(findings) or 'none'}"
        for place, finding in findings:
            yield f"  {finding.kind}: {finding.sentence}{_reservation(finding, covered)}"
            if finding.path is not None:
                yield "      " + " → ".join(map(words.of, finding.path))
            if place in written:
                yield f"      {written[place]}"


def _extent(covered: "Covered") -> str:
    match covered.cut_by:
        case None:
            return "everything within the bounds was explored"
        case "depth":
            return f"every path of up to {covered.depth} inputs was explored; {covered.waiting:,} states lead further"
        case _:
            return f"the nearest states were explored; {covered.waiting:,} more were seen and not looked at (--states)"


def _bounds(bounds: "Bounds") -> str:
    return (
        f"each ExternalEvent up to {bounds.events} times (--events), {bounds.before} of them before the WfRun "
        f"(--before), {bounds.stops} stops (--stops){', inputs between timers (--between)' * bounds.between}"
        f"{', events by correlation key (--by-key)' * bounds.by_key}"
    )


def _reservation(finding: "Finding", covered: "Covered") -> str:
    """Return what limits a finding that something never happens: a search that was cut may have missed it."""
    return " (as far as was explored)" if finding.path is None and covered.cut_by is not None else ""


class _Words:
    """Inputs in a few words each. Values that come to stand in masked Variables do not stand in them."""

    def __init__(self, subject: "Subject", samples: "Samples", secrets: "Secrets") -> None:
        self._thread = subject.spec.entrypoint
        self._usual, self._secrets = samples.starts[0], secrets

    def of(self, taken: "Input") -> str:
        """Return one input."""
        if taken.command is None:
            return f"clock +{taken.wait_ms / 1000:g}s"
        [(kind, fields)] = _step(taken, self._thread, self._secrets).items()
        match kind:
            case "run":
                given = getattr(taken.command, "variables", {})
                special = [name for name, value in given.items() if self._usual.get(name) != value]
                return " ".join(["run", *(f"{name}={_short(fields['variables'][name])}" for name in special)])
            case "event":
                content = [_short(fields["content"])] if "content" in fields else []
                return " ".join(["event", fields["name"], *content])
            case "report":
                what = fields.get("name") or fields["status"]
                output = [_short(fields["output"])] if "output" in fields else []
                return " ".join([f"thread {fields['thread']}'s task:", what, *output])
            case "start_task":
                return f"thread {fields['thread']}'s task: started"
            case _:
                return f"{kind} thread {fields['thread']}"


def _step(taken: "Input", entrypoint: str, secrets: "Secrets") -> dict[str, Any]:
    """Return an input as the step of a scenario, without values that come to stand in masked Variables."""
    from halter.explore.documents import steps_of
    from halter.show.redaction import redacted

    [step] = steps_of([taken])
    [(kind, fields)] = step.items()
    if kind == "run" and "variables" in fields:
        given = fields["variables"].items()
        fields["variables"] = {name: redacted(value, secrets.variable(entrypoint, name)) for name, value in given}
    elif kind == "event" and "content" in fields:
        secret = secrets.everything or fields["name"] in secrets.external_events
        fields["content"] = redacted(fields["content"], secret)
    elif kind == "report" and "output" in fields:
        fields["output"] = redacted(fields["output"], bool(secrets.outputs) or secrets.everything)
    return step


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _as_data(
    subject: "Subject",
    bounds: "Bounds",
    report: "Report",
    seconds: float,
    written: Mapping[int, Path],
    secrets: "Secrets",
) -> dict[str, Any]:
    from dataclasses import asdict

    entrypoint = subject.spec.entrypoint
    return {
        "wf_spec": subject.spec.name,
        "bounds": asdict(bounds),
        "covered": {**asdict(report.covered), "seconds": round(seconds, 3)},
        "assumed": list(subject.assumed),
        "findings": [
            {
                "kind": finding.kind.value,
                "problem": finding.is_problem,
                "where": list(finding.where),
                "sentence": finding.sentence,
                "path": None if finding.path is None else [_step(taken, entrypoint, secrets) for taken in finding.path],
                "scenario": str(written[place]) if place in written else None,
            }
            for place, finding in enumerate(report.findings)
        ],
    }
