"""`halter bulk ACTION`: parses options and prints. `halter.bulk` does the work.

Without --run it says what it would do. A job that was interrupted goes on with --job.
"""

import shlex
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from halter.cli.asked import Operator, Reason, asked
from halter.cli.client import Json, Timeout, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.ending import ends_at_once
from halter.cli.given import moment, not_nan
from halter.cli.lists import found_text, pages, painted
from halter.cli.printing import note, print_json, terminal_width
from halter.cli.usage import BadOptions
from halter.cli.views import ViewPlace, Where, filtered, note_lag, note_unknown, opened
from halter.show.counting import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from halter.bulk.job import Job
    from halter.bulk.running import Progress
    from halter.view.place import View

Run = Annotated[
    bool, typer.Option("--run", "--yes", "-y", help="Do it. Default: only say what would be done, and to which WfRuns.")
]
JobId = Annotated[
    str | None,
    typer.Option("--job", metavar="ID", help="Go on with the job of this id, which an interrupted one has printed."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="N",
        min=0.01,
        max=10_000,
        callback=not_nan,
        help="Most commands that are sent in a second. Default: 50; 5 for fork, which reads the log of each.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="All WfRuns of the view; there is no --where then.")]
AtMost = Annotated[
    int | None,
    typer.Option(
        "--at-most", metavar="N", min=1, help="Send nothing if more WfRuns than so many would get the command."
    ),
]
StaleViewToo = Annotated[bool, typer.Option("--stale-view", help="Choose by a view that nobody keeps current, too.")]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="SEQ|-N",
        help="fork: the moment from which each goes on, the seq of an event, or a number of events back.",
        show_default=False,
        callback=moment,
    ),
]
SHOWN: Final = 10
"""WfRuns that a dry run shows."""


RATE: Final = 50.0
FORK_RATE: Final = 5.0
"""To fork a WfRun, its log is read."""


@asks_kafka
def bulk(
    action: Annotated[
        str,
        typer.Argument(metavar="ACTION", help="stop, resume, rescue, delete or fork.", show_default=False),
    ],
    where: Where = None,
    all_: All = False,
    run: Run = False,
    job: JobId = None,
    rate: Rate = None,
    at: At = None,
    at_most: AtMost = None,
    stale_view: StaleViewToo = False,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    view: ViewPlace = None,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Stop, resume, rescue, delete or fork all WfRuns that a view chooses. Without --run it only says which.

    Each gets an ordinary command, and the log keeps who asked and why. A job that was interrupted goes on with --job.

    - `halter bulk stop --where status=RUNNING --where wf-spec=cart`
    - `halter bulk stop --where status=RUNNING --where wf-spec=cart --run --reason "prices are wrong"`
    - `halter bulk rescue --where failed-with=TIMEOUT --run --rate 5`
    - `halter bulk delete --where status=COMPLETED --where older-than=90d --run`
    - `halter bulk fork --where failed-with=TASK_FAILURE --at 12 --run`

    Exit codes: 0 done, 1 some were refused, have no outcome yet or an error, 2 wrong options.
    """
    if bool(where) == all_:
        found = "both" if all_ else "neither"
        raise BadOptions(f"expected --where NAME=VALUE, which says which WfRuns, or --all, found {found}")
    if job is not None and not run:
        raise BadOptions("--job goes on with a job: add --run")
    wanted = filtered(where)
    from halter.bulk.job import Action, Job, expect_same_job, new_job_id
    from halter.view.filters import BadFilter, one_of

    try:
        act = Action(one_of("ACTION", action, [it.value for it in Action]))
    except BadFilter as bad:
        raise BadOptions(str(bad)) from None
    if (at is not None) is not (act is Action.FORK):
        raise BadOptions("--at MOMENT is for fork, which needs it, and for no other action")
    rate = rate or (FORK_RATE if act is Action.FORK else RATE)
    job_id = new_job_id(_now_ms(), act, wanted, at) if job is None else job
    expect_same_job(job_id, act, wanted, at)
    chosen = Job(job_id, act, wanted)
    if not run:
        with ends_at_once(), opened(view) as place, place.read() as connection:
            _say_what_would_be(connection, chosen, at_most, as_json=as_json)
            note_lag(connection)
        return
    with connected(kafka) as client, opened(view) as place:
        from halter.bulk.running import Progress, run_job
        from halter.bulk.view_checks import expect_current
        from halter.view.installation import expect_same_installation
        from halter.view.kafka import source_of

        def check(connection: "Connection") -> None:
            if not stale_view:
                expect_current(connection, place.where, _now_ms())

        chosen = replace(chosen, **asked(client, operator, reason))
        with place.read() as connection:
            expect_same_installation(connection, place.where, source_of(client))
            check(connection)
            number = _number(connection, chosen, at_most)
            note_lag(connection)
        words = [*_again(chosen, where, at), "--rate", f"{rate:g}", "--timeout", f"{timeout:g}", *_where(place, kafka)]
        words += ["--stale-view"] if stale_view else []
        note(
            f"bulk job {chosen.id}: {counted(number, 'WfRun')} get the command '{act}'; if it is interrupted, go on "
            f"with: {shlex.join(words)}"
        )
        showing, progress = _Showing(action), Progress()
        try:
            run_job(
                client, place, chosen, rate=rate, timeout_s=timeout, at=at, told=showing, progress=progress, check=check
            )
        finally:
            showing.end()
            if as_json:
                print_json({"job": chosen.id, **asdict(progress)})
            else:
                _print_progress(progress)
    if not progress.is_whole:
        raise typer.Exit(1)


def _number(connection: "Connection", job: "Job", at_most: int | None) -> int:
    """Return how many WfRuns a job is about. Raises BadJob if there are more than may be."""
    from halter.bulk.job import BadJob
    from halter.view.wf_run_lists import count_all

    number = count_all(connection, job.filter, now_ms=job.began_ms)
    if at_most is not None and number > at_most:
        raise BadJob(f"--at-most: expected {counted(at_most, 'WfRun')} or fewer, found {number:,}; nothing was sent")
    return number


def _say_what_would_be(connection: "Connection", job: "Job", at_most: int | None, *, as_json: bool) -> None:
    from halter.bulk.running import BY_ID
    from halter.view.wf_run_text import WfRunTable

    number = _number(connection, job, at_most)
    if as_json:
        print_json({"dry_run": True, "action": job.action.value, "count": number})
        return
    table = WfRunTable(terminal_width(), _now_ms())
    shown = 0
    for page in pages(connection, job.filter, BY_ID, None, SHOWN):
        shown += len(page.lines)
        if page.lines:
            for line, style in table.lines(page.lines):
                typer.echo(painted(line, style))
    if not number:
        note(found_text(connection, job.asked, 0, None, first=True))
        note_unknown(connection, job.asked)
        return
    those = counted(number, "WfRun")
    note(
        f"dry run: {those}, of which {shown} are above, would get the command '{job.action}'; --run sends it, and with "
        f"--at-most {number} to no more"
    )


def _again(job: "Job", where: list[str] | None, at: str | None) -> list[str]:
    """Return the command that goes on with a job: which job it is."""
    words = ["halter", "bulk", job.action.value, "--run", "--job", job.id]
    for it in where or ():
        words += ["--where", it]
    words += ["--all"] if not where else []
    words += ["--at", at] if at is not None else []
    words += ["--operator", job.operator] if job.operator else []
    return words + (["--reason", job.reason] if job.reason else [])


def _where(view: "View", kafka: Kafka) -> list[str]:
    """Return the options that name a view and an installation as they were named. Passwords are not in them."""
    from processors.kafka.properties import redacted

    properties = [it.partition("=") for it in kafka.properties or ()]
    shown = [f"{key}={redacted(key.strip(), value)}" for key, _, value in properties]
    return ["--view", view.where, *replace(kafka, properties=shown).arguments]


class _Showing:
    """Says how far a job is: on a terminal in one line that changes, else in a line now and then."""

    def __init__(self, action: str) -> None:
        self._action, self._began, self._told = action, time.monotonic(), 0.0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        came = f"{progress.done:,} done, {progress.refused:,} refused"
        came += f", {progress.no_outcome:,} without an outcome" if progress.no_outcome else ""
        line = f"{self._action}: {counted(progress.looked_at, 'WfRun')}, {came}"
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
        elif now - self._told > 5:
            note(line)
        self._told = now

    def end(self) -> None:
        """End the line."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")


def _print_progress(progress: "Progress") -> None:
    for number, words in (
        (progress.done, "done"),
        (progress.done_before, "done before by this job"),
        (progress.ignored, "had nothing to do"),
        (progress.kept, "in quarantine, decided when that ends"),
        (progress.refused, "refused"),
        (progress.no_outcome, "without an outcome yet: Kafka has the command, and no worker has decided it"),
    ):
        if number:
            typer.echo(f"{number:>9,}  {words}")
    if not progress.looked_at:
        typer.echo(f"{0:>9}  there is no such WfRun")
    for wf_run_id, sentence in progress.problems:
        note(f"{wf_run_id}: {sentence}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
