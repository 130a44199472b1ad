"""What an operator may do: each action makes one command, says which, sends it, and tells its outcome.

An action is named by an id that its form or its program makes. The id becomes that of the command or of the
ExternalEvent, so the engine knows a repeat; and while the console remembers the id, a second submit gets the outcome of
the first and sends nothing. It runs no rule: what is not possible, the engine refuses.
"""

import asyncio
import hashlib
import json
import re
import shlex
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypedDict

import structlog
from starlette.concurrency import run_in_threadpool

from halter.client.dead_letters import CannotRetry, NoDeadLetter, values_of
from halter.client.errors import InvalidArgument, NoOutcome
from halter.client.ids import new_id
from halter.console.metrics import Figures
from halter.console.problems import BadQuery, NotThere, Problem
from halter.console.readings import Readings
from halter.console.security_rates import Rates
from halter.console.sending import ConsoleCommand, RetryDeadLetter, Sender, Sent
from halter.console.settings import Bounds
from halter.console.users import User
from halter.files.typed_values import UnfitText, typed_value
from halter.show.history import entry_data
from halter.show.log_text import what_happened
from halter.show.plain import plain
from processors.core.records.commands import (
    ExternalEvent,
    ForkWfRun,
    QuarantineWfRun,
    ReleaseWfRun,
    RescueThreadRun,
    ResumeWfRun,
    StopWfRun,
)
from processors.core.records.errors import HalterError
from processors.core.records.value_checks import UnfitValue, check_value
from processors.core.records.values import INT_MAX, Value, VariableType

OUTCOME_S: Final = 20.0
"""How long to wait for the outcome of a command."""
REMEMBERED_MAX: Final = 1000
"""The number of actions whose outcomes are remembered."""
REMEMBERED_BYTES_MAX: Final = 16 * 1024 * 1024
"""The most bytes that the fields of these may have together."""
REASON_MAX: Final = 500
TEXT_MAX: Final = 1_000
"""Most characters of a field that is an id, a name or a moment. Each is in the audit log."""
HIDDEN: Final = "[content]"
"""What a line of the log has in the place of a value."""
ACTION_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


TYPED: Final = (BadQuery, InvalidArgument, CannotRetry, NoDeadLetter)
"""Errors of what was typed: nothing was sent. Their sentences may quote it, so the log has their codes."""


class Outcome(StrEnum):
    """What became of an action."""

    DONE = "done"
    REFUSED = "refused"
    """The engine refused it: nothing has changed."""
    UNKNOWN = "unknown"
    """The command is on its topic, and nobody has decided it yet."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an action."""

    name: str
    says: str
    required: bool = False
    kind: type = str
    most: int | None = TEXT_MAX
    """Most characters of a text; None: as many as a body may have."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that an operator may do."""

    name: str
    title: str
    says: str
    fields: tuple[Field, ...]
    warning: str | None = None
    """What to confirm before, because nothing takes it back."""

    def expect_known(self, given: Mapping[str, object]) -> None:
        """Refuse fields that it does not have, and the lack of those that it needs. Raises BadQuery."""
        known = [it.name for it in self.fields]
        for name in given:
            if name not in known:
                raise BadQuery(f"{self.name}: expected fields of {', '.join(known)}, found '{name[:40]}'")
        for field in self.fields:
            if field.required and given.get(field.name) in (None, ""):
                raise BadQuery(f"{self.name}: expected {field.name} ({field.says}), found none")


WF_RUN: Final = Field("wf_run_id", "id of the WfRun", required=True)
THREAD: Final = Field("thread", "number of the ThreadRun", kind=int)
DEAD_LETTER: Final = Field("dead_letter", "its place on dead-letters, PARTITION@OFFSET", required=True)
REASON: Final = Field("reason", "why; it is kept on the log")
ACTIONS: Final[Mapping[str, Action]] = {
    it.name: it
    for it in (
        Action(
            "post",
            "Post an ExternalEvent",
            "Tell a WfRun that something has happened.",
            (
                WF_RUN,
                Field("external_event_def", "name of the ExternalEventDef", required=True),
                Field("content", "its content, as JSON"),
                Field("content_text", "its content as people type it, in place of content", most=None),
                Field("external_event_id", "id of the event; default: the id of the action"),
                Field("thread", "only this ThreadRun may take it", kind=int),
                REASON,
            ),
        ),
        Action("stop", "Stop", "Put MANUAL_HALT on a ThreadRun, and so on all below it.", (WF_RUN, THREAD, REASON)),
        Action("resume", "Resume", "Take MANUAL_HALT off a ThreadRun.", (WF_RUN, THREAD, REASON)),
        Action(
            "rescue",
            "Rescue",
            "Let a ThreadRun in ERROR go on: at its node again, or behind it.",
            (WF_RUN, THREAD, Field("skip_current_node", "pass on from the node", kind=bool), REASON),
        ),
        Action(
            "fork",
            "Fork",
            "Start another WfRun from the state at a moment of this one.",
            (
                WF_RUN,
                Field("at", "the moment: a seq, a time in UTC, or -N", required=True),
                Field("new_id", "id of the new WfRun", required=True),
                REASON,
            ),
            warning="The new WfRun requests its tasks anew: what they do outside happens a second time.",
        ),
        Action(
            "quarantine",
            "Quarantine",
            "Keep the records of a WfRun aside, unhandled, so that its partition goes on.",
            (WF_RUN, REASON),
            warning="Nothing of this WfRun is handled until it is released.",
        ),
        Action("release", "Release", "End a quarantine: the kept records are handled, in order.", (WF_RUN, REASON)),
        Action(
            "retry",
            "Retry",
            "Send the record of a dead letter to its topic again, as it was or corrected. Each can be retried once.",
            (
                DEAD_LETTER,
                Field("corrections", "other values for fields of its record, as a JSON object", kind=dict),
                Field("reason", "why; it goes with the record, and is noted on dead-letters"),
            ),
            warning="A dead letter is retried once: if it is wrong again, it becomes a dead letter of its own.",
        ),
    )
}


class CommandShown(TypedDict):
    """The command of an action: the name of its record, and its fields."""

    name: str
    fields: dict[str, Any]


class PreparedAction(TypedDict):
    """A command that would be sent; `shell` is the command line that does the same."""

    action: str
    wf_run_id: str | None
    """None: of a dead letter."""
    command: CommandShown
    shell: str
    warning: str | None


class Record(TypedDict):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


class PerformedAction(PreparedAction):
    """A command that was sent, and what became of it."""

    action_id: str
    outcome: str
    sentence: str
    code: str | None
    record: Record
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command that is to be sent, and how to show it."""

    action: Action
    wf_run_id: str | None
    command: ConsoleCommand
    shown: Mapping[str, Any]
    """The command as plain data; of a fork without the state."""
    shell: str
    """The command line that does the same."""
    logged: str
    """That line without the values in it, as the log has it."""

    def as_dict(self) -> PreparedAction:
        """Return it for JSON."""
        return PreparedAction(
            action=self.action.name,
            wf_run_id=self.wf_run_id,
            command=CommandShown(name=type(self.command).__name__, fields=dict(self.shown)),
            shell=self.shell,
            warning=self.action.warning,
        )


@dataclass(frozen=True, slots=True)
class Performed:
    """An action that was sent, and its outcome."""

    prepared: Prepared
    action_id: str
    outcome: Outcome
    sentence: str
    code: str | None
    topic: str
    partition: int
    offset: int
    events: list[dict[str, Any]]
    """The events that it caused, masked values taken out."""

    def as_dict(self) -> PerformedAction:
        """Return it for JSON."""
        return PerformedAction(
            **self.prepared.as_dict(),
            action_id=self.action_id,
            outcome=str(self.outcome),
            sentence=self.sentence,
            code=self.code,
            record=Record(topic=self.topic, partition=self.partition, offset=self.offset),
            events=self.events,
        )


@dataclass(frozen=True, slots=True)
class _Begun:
    """An action that was begun under an id."""

    asked: bytes
    """A digest of its name and its fields."""
    size: int
    """The bytes of its fields."""
    task: asyncio.Task[Performed]


class Actions:
    """Does what operators ask. It belongs to one event loop; who may ask, the caller has checked."""

    def __init__(self, readings: Readings, sender: Callable[[], Sender], bounds: Bounds, figures: Figures) -> None:
        self._readings, self._sender, self._bounds, self._figures = readings, sender, bounds, figures
        self._rates = Rates(bounds.actions, bounds.addresses)
        self._begun: OrderedDict[tuple[str, str], _Begun] = OrderedDict()
        self._log = structlog.get_logger("halter.console.audit")

    async def prepare(self, user: User, name: str, given: Mapping[str, Any], action_id: str) -> Prepared:
        """Make the command of an action, and send nothing. Raises BadQuery, InvalidArgument and what reading raises."""
        action = action_of(name)
        action.expect_known(given)
        if not ACTION_ID.fullmatch(action_id):
            raise BadQuery("action_id: expected 8 to 64 letters, digits, '-' or '_'")
        fields = {it.name: _typed(it, given.get(it.name)) for it in action.fields if it.name != "content"}
        fields["content"] = given.get("content")
        reason = fields.get("reason")
        if reason is not None and len(reason) > REASON_MAX:
            raise BadQuery(f"reason: expected at most {REASON_MAX} characters, found {len(reason):,}")
        asked: dict[str, Any] = {"operator": user.name, "reason": reason}
        wf_run_id: Any = fields.get("wf_run_id")
        thread = fields.get("thread")
        command: ConsoleCommand
        sends: dict[str, Any] | None = None
        match name:
            case "post":
                event_def = fields["external_event_def"]
                content = await run_in_threadpool(self._content, wf_run_id, event_def, fields)
                event_id = fields["external_event_id"] or action_id
                command = ExternalEvent(wf_run_id, event_def, event_id, content, thread, **asked)
            case "stop":
                command = StopWfRun(wf_run_id, thread or 0, action_id, **asked)
            case "resume":
                command = ResumeWfRun(wf_run_id, thread or 0, action_id, **asked)
            case "rescue":
                skip = bool(fields["skip_current_node"])
                command = RescueThreadRun(wf_run_id, thread or 0, skip, action_id, **asked)
            case "fork":
                now_ms = time.time_ns() // 1_000_000
                point = await run_in_threadpool(self._readings.log.fork_point, wf_run_id, fields["at"], now_ms)
                command = ForkWfRun(fields["new_id"], point.snapshot, command_id=action_id, **asked)
            case "quarantine":
                command = QuarantineWfRun(wf_run_id, reason, action_id, user.name)
            case "release":
                command = ReleaseWfRun(wf_run_id, action_id, reason, user.name)
            case _:
                place, corrections = place_of(fields["dead_letter"]), fields["corrections"] or {}
                sends = await run_in_threadpool(self._readings.dead_letters.record_to_retry, *place, corrections)
                command = RetryDeadLetter(*place, corrections, **asked)
        shown = plain(command)
        if sends is not None:
            shown["sends"] = sends
        if name == "fork":
            shown["snapshot"] = {"wf_run_id": wf_run_id, "at": fields["at"]}
        return Prepared(action, wf_run_id, command, shown, shell_of(name, fields), shell_of(name, _hidden(fields)))

    async def perform(
        self, user: User, address: str, name: str, given: Mapping[str, Any], action_id: str | None = None
    ) -> Performed:
        """Send the command of an action, and wait for its outcome. A repeat of an id gets the outcome of the first.

        An id whose command was not sent is free again. Raises Problem for a repeat with other fields or too many
        actions, and what `prepare` and sending raise.
        """
        action_of(name)
        action_id = action_id or new_id()
        key, (asked, size) = (user.name, action_id), _digest(name, given)
        before = self._begun.get(key)
        if before is not None and before.asked != asked:
            raise Problem(409, "ACTION_ID", "this id belongs to another action; load the page again, and send that")
        task = None if before is None else before.task
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            if wait := self._rates.take(user.name, time.monotonic()):
                sentence = f"expected at most {self._bounds.actions} actions in a minute"
                raise Problem(429, "TOO_MANY_ACTIONS", sentence, {"Retry-After": str(int(wait) + 1)})
            task = asyncio.create_task(self._sent(user, address, name, given, action_id))
            self._begun[key] = _Begun(asked, size, task)
            while len(self._begun) > REMEMBERED_MAX or self._remembered_bytes() > REMEMBERED_BYTES_MAX:
                self._begun.popitem(last=False)
        # The browser may go away meanwhile. The command is sent all the same, and its outcome kept.
        return await asyncio.shield(task)

    def _remembered_bytes(self) -> int:
        return sum(it.size for it in self._begun.values())

    async def _sent(self, user: User, address: str, name: str, given: Mapping[str, Any], action_id: str) -> Performed:
        who = {"user": user.name, "role": str(user.role), "way": str(user.way), "address": address}
        log = self._log.bind(**who, action=name, action_id=action_id)
        may_be_sent = False
        try:
            sender = self._sender()
            await sender.reach()
            prepared = await self.prepare(user, name, given, action_id)
            log = log.bind(wf_run_id=prepared.wf_run_id, reason=given.get("reason"))
            log.info("action_begun", shell=prepared.logged)
            may_be_sent = True
            sent = await sender.send(prepared.command, OUTCOME_S)
        except Exception as error:
            if isinstance(error, TYPED) or not may_be_sent:
                self._begun.pop((user.name, action_id), None)
            self._figures.acted(name, "failed")
            log.warning("action_failed", error=error.code if isinstance(error, TYPED) else str(error))
            raise
        performed = await self._told(prepared, action_id, sent)
        self._figures.acted(name, str(performed.outcome))
        log.info("action_ended", outcome=str(performed.outcome), code=performed.code)
        return performed

    async def _told(self, prepared: Prepared, action_id: str, sent: Sent) -> Performed:
        """Say what became of a command."""
        outcome, code = Outcome.DONE, None
        events: list[dict[str, Any]] = []
        if sent.problem is not None:
            outcome = Outcome.UNKNOWN if isinstance(sent.problem, NoOutcome) else Outcome.REFUSED
            code, sentence = sent.problem.code, str(sent.problem)
        else:
            try:
                shown = await run_in_threadpool(self._readings.log.redacted, sent.entries)
            except HalterError as away:  # what was done stays done
                shown, sentence = [], f"done; what came of it cannot be read now: {away}"
            else:
                told = [f"{type(it.event).__name__} {what_happened(it.event)}".strip() for it in shown]
                sentence = told[0] if told else "done"
            events = [entry_data(it) for it in shown]
        return Performed(prepared, action_id, outcome, sentence, code, sent.topic, sent.partition, sent.offset, events)

    def _content(self, wf_run_id: str, event_def: str, fields: Mapping[str, Any]) -> Value:
        """Return the content of an event: JSON as it is, text as it is typed for the type of the ExternalEventDef.

        JSON has no times and no bytes. So these are text there too.
        """
        content, text = fields["content"], fields["content_text"]
        if content is not None and text is not None:
            raise BadQuery("content: expected either content or content_text, found both")
        if text is None:
            _expect_fit(content, "content")
        if text is None and not isinstance(content, str):
            return content  # type: ignore[no-any-return]
        definition = self._readings.log.external_event_def(wf_run_id, event_def)
        declared = definition.content_type if definition is not None else None
        if text is None and declared not in (VariableType.TIMESTAMP, VariableType.BYTES):
            return content  # type: ignore[no-any-return]
        try:
            return typed_value(content if text is None else text, declared, "content")
        except UnfitText as unfit:
            raise BadQuery(str(unfit)) from None


def action_of(name: str) -> Action:
    """Return an action. Raises NotThere."""
    if name not in ACTIONS:
        raise NotThere(f"expected an action of {', '.join(ACTIONS)}, found '{name[:40]}'")
    return ACTIONS[name]


def place_of(text: str) -> tuple[int, int]:
    """Return partition and offset of PARTITION@OFFSET. Raises BadQuery."""
    found = re.fullmatch(r"(\d{1,9})@(\d{1,18})", text, re.ASCII)
    if found is None:
        raise BadQuery(f"dead_letter: expected PARTITION@OFFSET such as 3@1041, found {text[:40]!r}")
    return int(found[1]), int(found[2])


def _typed(field: Field, given: object) -> Any:
    """Return the value of a field, of a form or of JSON. Raises BadQuery."""
    if given in (None, "") and not isinstance(given, bool):
        return None
    if field.kind is bool and (isinstance(given, bool) or given in ("true", "false", "on")):
        return given in (True, "true", "on")
    if field.kind is int:
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= INT_MAX:
            return given
        if isinstance(given, str) and re.fullmatch(r"\d{1,9}", given, re.ASCII):
            return int(given)
    if field.kind is str and isinstance(given, str):
        if field.most is not None and len(given) > field.most:
            raise BadQuery(f"{field.name}: expected at most {field.most:,} characters, found {len(given):,}")
        return given
    if field.kind is dict and isinstance(given, dict | str):
        try:
            values = given if isinstance(given, dict) else values_of(given)
        except CannotRetry as no_object:
            raise BadQuery(f"{field.name}: {no_object}") from None
        for name, value in values.items():
            _expect_fit(name, "the name of a field")
            _expect_fit(value, name[:40])
        return values
    kinds = {int: "a whole number from 0", bool: "true or false", str: "text", dict: "a JSON object"}
    raise BadQuery(f"{field.name}: expected {kinds[field.kind]}, found {str(given)[:40]!r}")


def _expect_fit(value: object, what: str) -> None:
    """Refuse what no record can hold: numbers that are none, and what nests too deeply. Raises BadQuery."""
    try:
        check_value(value, what)
    except UnfitValue as unfit:
        raise BadQuery(str(unfit)) from None


def _digest(name: str, given: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return what tells one action from another, and the bytes of its fields. Raises BadQuery."""
    try:
        text = json.dumps([name, dict(given)], sort_keys=True).encode()
    except RecursionError:
        raise BadQuery("expected fields that nest less deeply") from None
    return hashlib.sha256(text).digest(), len(text)


def _hidden(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an action as the log may have them: without the values of an event."""
    hidden = {name: HIDDEN for name in ("content", "content_text") if fields.get(name) is not None}
    corrections = dict.fromkeys(fields.get("corrections") or {}, HIDDEN)
    return {**fields, **hidden, "corrections": corrections}


def shell_of(name: str, fields: Mapping[str, Any]) -> str:
    """Return the command line that does what an action does."""
    if name == "retry":
        words = ["halter", "dead-letters", "retry", fields["dead_letter"]]
        for field, value in (fields["corrections"] or {}).items():
            words += ["--set", f"{field}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"]
        return shlex.join([*words, *(["--reason", fields["reason"]] if fields.get("reason") else [])])
    words = ["halter", "send" if name == "post" else name, fields["wf_run_id"]]
    if name == "post":
        words.append(fields["external_event_def"])
        if fields["content_text"] is not None:
            words.append(fields["content_text"])
        elif fields["content"] is not None:
            words.append(json.dumps(fields["content"], ensure_ascii=False))
        if fields["external_event_id"]:
            words += ["--id", fields["external_event_id"]]
    if fields.get("thread") is not None:
        words += ["--thread", str(fields["thread"])]
    if fields.get("skip_current_node"):
        words.append("--skip")
    if name == "fork":
        words += ["--at", fields["at"], "--as", fields["new_id"]]
    if fields.get("reason"):
        words += ["--reason", fields["reason"]]
    return shlex.join(words)
