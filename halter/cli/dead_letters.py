"""`halter dead-letters list | show | retry`: parses options and prints. `halter.client.dead_letters` does the work."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from halter.cli.asked import Operator, Reason, asked
from halter.cli.client import Json, Timeout, Unmask, connected
from halter.cli.connection import Kafka, asks_kafka
from halter.cli.ending import ends_at_once
from halter.cli.printing import note, print_json, print_line, styled, terminal_width
from halter.cli.usage import BadOptions, UsageMistake, in_utf8
from halter.cli.views import ViewPlace, note_lag, opened

if TYPE_CHECKING:
    from halter.client.dead_letters import DeadLetterRead
    from halter.view.dead_letter_lists import DeadLetterLine
    from processors.fold.inputs import InputCommand
    from processors.kafka.topics import Topics

app = typer.Typer(no_args_is_help=True, help="Look at records that could not be taken, and retry them.")
Letter = Annotated[
    str,
    typer.Argument(metavar="PARTITION@OFFSET", help="Its place on dead-letters: 3@1041.", show_default=False),
]


class BadPlace(UsageMistake):
    """A place does not have the form PARTITION@OFFSET. Whoever typed it corrects it."""


@app.command("list")
def list_dead_letters(
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="NAME", help="With this reason, such as UNKNOWN_SCHEMA.")
    ] = None,
    topic: Annotated[str | None, typer.Option("--topic", metavar="NAME", help="Of this topic.")] = None,
    mapping: Annotated[
        str | None, typer.Option("--mapping", metavar="NAME", help="Of the binding or the sink of this name.")
    ] = None,
    wf_run_id: Annotated[str | None, typer.Option("--wf-run", metavar="ID", help="For this WfRun.")] = None,
    retried: Annotated[
        bool | None, typer.Option("--retried/--not-retried", help="Only those that were retried, or were not.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1_000, help="Most of them.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="PLACE", help="Go on where an earlier list has ended.")
    ] = None,
    view: ViewPlace = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first.

    It reads a view, which 'halter view' fills and keeps current.

    - `halter dead-letters list --not-retried`
    - `halter dead-letters list --reason UNKNOWN_SCHEMA --json`
    - `halter dead-letters list --mapping orders-paid`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    with ends_at_once(), opened(view) as place, place.read() as connection:
        from halter.view.dead_letter_lists import dead_letters
        from halter.view.names import unknown_names_of_letters
        from halter.view.wf_run_text import plain_data

        page = dead_letters(
            connection,
            reason=reason,
            topic=topic,
            mapping=mapping,
            wf_run_id=wf_run_id,
            retried=retried,
            after=after,
            limit=limit,
        )
        if as_json:
            print_json({"dead_letters": [plain_data(it) for it in page.lines], "after": page.after})
        else:
            for number, line in enumerate(_table(page.lines)):
                typer.echo(styled(line, bold=True) if number == 0 else line)
            if not page.lines:
                is_any = (reason, topic, mapping, wf_run_id, retried, after) == (None,) * 6
                note(
                    f"there is no {'' if is_any else 'such '}dead letter in the view"
                    + (f"; go on with --after {page.after}" * bool(page.after))
                )
            elif page.after:
                note(f"there are more: go on with --after {page.after}")
        if page.is_nothing:
            for sentence in unknown_names_of_letters(connection, reason, topic, mapping):
                note(sentence)
        note_lag(connection)


def _table(lines: "list[DeadLetterLine] | Any") -> Iterator[str]:
    """Yield a heading and a line for each dead letter; on a terminal the message is cut."""
    from halter.show.wrapping import printable
    from halter.view.wf_run_text import age, columns

    if not lines:
        return
    now_ms = time.time_ns() // 1_000_000
    rows = [("Place", "Reason", "From", "WfRun", "Since", "Retried", "Message")]
    for it in lines:
        texts = it.name, it.reason, it.source, it.wf_run_id or "-", age(now_ms - it.at_ms)
        rows.append((*texts, "yes" if it.retries else "no", it.message))
    yield from columns([tuple(map(printable, row)) for row in rows], terminal_width())


@app.command()
@asks_kafka
def show(place: Letter, unmask: Unmask = False, as_json: Json = False, *, kafka: Kafka) -> None:
    """Show a dead letter: why it could not be taken, its record, and whether it was retried.

    - `halter dead-letters show 3@1041`

    Exit codes: 0 done, 1 an error, 2 wrong options.
    """
    partition, offset = place_of(place)
    with connected(kafka, to_send=False, expecting=lambda topics: expect_partition(topics, partition)) as client:
        from halter.client.dead_letters import command_of, read_dead_letter, retried_as
        from halter.show.dead_letters import letter_data

        letter = read_dead_letter(client, partition, offset)
        command, retried = command_of(client, letter), retried_as(client, letter)
        told = letter_data(letter, command, retried, unmask=unmask)
        if as_json:
            print_json(told)
            return
        print_line(f"{letter.name}  {letter.reason}  {letter.source}", bold=True)
        print_line(f"  {letter.message}")
        for name in ("key", "headers", "record", "fields", "value", "retried"):
            if told[name] not in (None, {}, []):
                text = told[name] if isinstance(told[name], str) else json.dumps(told[name], ensure_ascii=False)
                print_line(f"  {name:<8}  {text}")


@app.command()
@asks_kafka
def retry(
    place: Letter,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Correct a field of its record: JSON, or text. May be repeated.",
            callback=in_utf8,
        ),
    ] = None,
    value: Annotated[
        Path | None,
        typer.Option(
            "--value",
            metavar="FILE",
            help='Send this value: the bytes of a record, or JSON such as {"StopWfRun": {"wf_run_id": "cart-1"}}.',
        ),
    ] = None,
    reason: Reason = None,
    operator: Operator = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
    *,
    kafka: Kafka,
) -> None:
    """Send the record of a dead letter to its topic again, as it was or corrected. Each can be retried once.

    An event keeps its id, so whatever became of it before, it has one effect. The record has the header
    halter.retry-of, which names the dead letter. If the retry is wrong too, it becomes a dead letter of its own.

    - `halter dead-letters retry 3@1041`
    - `halter dead-letters retry 3@1041 --set external_event_def=checkout --reason "a typo, see #77"`
    - `halter dead-letters retry 3@1041 --value corrected.json`

    Exit codes: 0 done, 1 refused or an error, 2 wrong options.
    """
    if sets and value is not None:
        raise BadOptions("--set corrects fields of the record, and --value takes its place: leave out one")
    partition, offset = place_of(place)
    changes = dict(map(_assigned, sets or ()))
    instead = None if value is None else _read(value)
    with connected(kafka, expecting=lambda topics: expect_partition(topics, partition)) as client:
        from halter.cli.runs import report
        from halter.client.arguments import Arguments
        from halter.client.dead_letters import command_of, read_dead_letter, retry_and_tell

        letter = read_dead_letter(client, partition, offset)
        command, other = None, None
        if changes:
            command = _with(command_of(client, letter), letter, changes)
        elif isinstance(instead, bytes):
            other = instead
        elif instead is not None:
            kind, given = instead
            command = Arguments(client.codec).command(kind, **given)
        who = asked(client, operator, reason)
        retried, posted = retry_and_tell(client, letter, command, other, **who)
        note(f"{letter.name} is retried: its record is {retried.place}")
        if posted is not None:
            report(client, posted, timeout, as_json=as_json)
        elif as_json:
            print_json({"record": {"topic": retried.topic, "partition": retried.partition, "offset": retried.offset}})


def place_of(text: str) -> tuple[int, int]:
    """Return partition and offset of PARTITION@OFFSET. Raises BadPlace."""
    partition, at, offset = text.partition("@")
    if not at or not all(it.isascii() and it.isdecimal() and len(it) <= 18 for it in (partition, offset)):
        raise BadPlace(f"expected PARTITION@OFFSET such as 3@1041, found '{text[:80]}'")
    return int(partition), int(offset)


def expect_partition(topics: "Topics", partition: int) -> None:
    """Raise BadPlace unless `dead-letters` has such a partition."""
    if partition >= topics.partitions:
        raise BadPlace(f"expected a partition from 0 to {topics.partitions - 1}, found {partition}")


def _assigned(option: str) -> tuple[str, str]:
    """Return name and text of FIELD=VALUE."""
    name, equals, text = option.partition("=")
    if not equals or not name:
        raise BadOptions(f"--set: expected FIELD=VALUE, found '{option[:80]}'")
    return name.strip(), text


def _with(command: "InputCommand | None", letter: "DeadLetterRead", sets: Mapping[str, str]) -> "InputCommand":
    """Return the record of a dead letter with other values in some fields."""
    from halter.client.dead_letters import corrected

    if command is None:
        raise BadOptions(f"--set: the bytes of {letter.name} are no record that has fields: give --value FILE")
    return corrected(command, {name: _typed(text, getattr(command, name, None)) for name, text in sets.items()})


def _typed(text: str, before: object) -> Any:
    """Return the value that was typed: text in place of text, else JSON if it is some."""
    if isinstance(before, Enum):
        try:
            return type(before)(text)
        except ValueError:
            raise BadOptions(
                f"--set: expected one of {', '.join(it.value for it in type(before))}, found '{text[:80]}'"
            ) from None
    if isinstance(before, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(file: Path) -> "tuple[type[InputCommand], dict[str, Any]] | bytes":
    """Return the record that a file has: its kind and its fields, or its bytes. Raises CannotRetry and BadOptions."""
    from halter.client.dead_letters import CannotRetry, values_of
    from processors.codec.records import RECORDS
    from processors.fold.inputs import INPUT_TOPICS

    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadOptions(f"--value: {file} cannot be read: {error.strerror}") from None
    if data.lstrip()[:1] != b"{":
        return data
    found = values_of(data.decode(errors="replace"))
    names = sorted(name for topic in INPUT_TOPICS.values() for name in topic.records)
    if len(found) != 1 or (name := next(iter(found))) not in names or not isinstance(found[name], dict):
        raise CannotRetry(f'--value: expected {{"RECORD": {{fields}}}}, where RECORD is one of {", ".join(names)}')
    kind = RECORDS[name]
    unknown = sorted(found[name].keys() - {it.name for it in fields(kind)})
    if unknown:
        raise CannotRetry(
            f"--value: {name} has no field '{unknown[0]}': it has {', '.join(it.name for it in fields(kind))}"
        )
    return kind, found[name]
