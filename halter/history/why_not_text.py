"""Says in words and as data what became of an ExternalEvent, which `why_not` finds out. One sentence for each thing."""

from collections.abc import Iterator
from typing import Any, assert_never

from halter.history.record_text import place_text, record_text
from halter.history.why_not import Became, Fate, Hindrance, Obstacle, WhyNot, hindrances_of
from halter.history.why_text import origin_data
from halter.show.plain import plain
from halter.show.times import iso
from halter.show.waiting_text import named_threads
from processors.core.records.events import WfRunForked
from processors.core.records.model import WfRun, WfRunExternalEvent
from processors.core.records.topic_names import EXTERNAL_EVENTS


def why_not_sentences(told: WhyNot, run: WfRun) -> Iterator[str]:
    """The sentences about what became of an ExternalEvent, in the order in which it happened."""
    for became in told.became:
        name = f"{became.external_event_def or 'ExternalEvent'} {told.external_event_id}"
        yield f"{name} {_said(told, run, became)}"


def unclaimed_sentence(run: WfRun, event: WfRunExternalEvent) -> str:
    """Say what an ExternalEvent comes to that no thread has taken when it was posted. `run` has its WfSpec at hand."""
    name = f"{event.external_event_def} {event.external_event_id}"
    if not run.exists:
        return f"there is no WfRun '{run.wf_run_id}' yet: {name} is kept for the one that starts with this id"
    if run.final_status is not None:
        return f"{name} changes nothing: WfRun '{run.wf_run_id}' is {run.status}"
    return f"{name} is unclaimed: {'; '.join(_hindrance(run, it) for it in hindrances_of(run, event, {}))}"


def _said(told: WhyNot, run: WfRun, became: Became) -> str:
    at = "" if became.origin is None else f" at {iso(became.origin.time_ms)}"
    by = "" if became.origin is None else f" because of {record_text(became.origin)}"
    thread = "" if became.thread is None else named_threads(run, (became.thread,))
    match became.fate:
        case Fate.UNCLAIMED:
            posted = "" if became.origin is None else f", posted{at} by {record_text(became.origin)}"
            return f"is unclaimed{posted}: {_hindrances(run, became)}"
        case Fate.CLAIMED:
            node = "a node" if became.node is None else f"node {became.node}"
            return f"was claimed by {node} of {thread}{at}{by}"
        case Fate.PENDING:
            option = f" --thread {became.thread}" if became.thread else ""
            asks = f"`halter why {told.wf_run_id}{option}` says what that waits for"
            return f"was accepted by {thread}{at}; its handler has not started: {asks}"
        case Fate.HANDLED:
            ended = "has not ended" if became.ended is None else f"ended: {became.ended}"
            return f"started handler #{became.handler} of {thread}{at}{by}, which {ended}"
        case Fate.SUPERSEDED:
            return f"was superseded by {became.by} in {thread}{at}: the policy of the interrupt is `latest`"
        case Fate.DROPPED:
            where = f" in {thread}" if thread else ""
            return f"was dropped{where}{at}{by}: {became.reason}"
        case Fate.CAME_ALONG:
            assert became.origin is not None
            fork = became.origin.event
            assert isinstance(fork, WfRunForked)
            was = f"{became.reason} in {thread}" if thread else became.reason
            asks = f"`halter why-not {fork.source_wf_run_id} {told.external_event_id}` tells how"
            return f"came along{at} from {fork.source_wf_run_id}, where it was {was}: {asks}"
        case Fate.REJECTED:
            return f"was rejected{at}{_place(became)}: {became.reason}"
        case Fate.KEPT:
            return f"is kept in quarantine{at}{_place(became)}: `halter release {told.wf_run_id}` has it decided"
        case Fate.SKIPPED:
            operator = f" by {became.by}" if became.by else ""
            reason = f": {became.reason}" if became.reason else ""
            return f"was passed over{operator}{at}{_place(became)}{reason}"
        case Fate.DELETED:
            return f"was deleted with its WfRun{at}{by}"
        case Fate.DEAD_LETTER:
            return f"is a dead letter{_place(became)}: {became.reason}"
        case Fate.NOT_FOLDED:
            assert became.seen is not None
            topic = became.seen.topic
            folded, end = told.outside.folded.get(topic), told.outside.end.get(topic)
            partition = f"{became.seen.topic}[{became.seen.partition}]"
            if folded is None:
                return f"is not folded yet{_place(became)}: nothing of {partition} has been folded"
            before = became.seen.offset - folded
            ahead = "it is next" if not before else f"{before} record{'s' if before > 1 else ''} before it"
            return f"is not folded yet{_place(became)}: {partition} is folded up to {folded} of {end}, {ahead}"
        case Fate.FORGOTTEN:
            return f"was folded{_place(became)}, and the log no longer says what came of it"
        case Fate.UNKNOWN:
            return f"is unknown: the log of {told.wf_run_id} has no event about it{_looked_at(told)}"
        case _:
            assert_never(became.fate)


def _place(became: Became) -> str:
    """Where its record is, in brackets."""
    if became.seen is not None:
        return f" ({place_text(became.seen.topic, became.seen.partition, became.seen.offset)})"
    if became.origin is None:
        return ""
    cause = became.origin.cause
    return f" ({place_text(cause.topic, cause.partition, cause.offset)})"


def _looked_at(told: WhyNot) -> str:
    """The words for where else nothing was found."""
    if not told.outside.end:
        return ""
    where = "in its partition of external-events or wf-commands, or on dead-letters"
    return f", and there is no record with this id {where}; check the id"


def _hindrances(run: WfRun, became: Became) -> str:
    if not became.hindrances:
        return "nothing is known to stand in its way"
    return "; ".join(_hindrance(run, it) for it in became.hindrances)


def _hindrance(run: WfRun, it: Hindrance) -> str:
    thread = "" if it.thread is None else named_threads(run, (it.thread,))
    match it.obstacle:
        case Obstacle.NOT_STARTED:
            return f"no WfRun {run.wf_run_id} was started yet"
        case Obstacle.OVER:
            return f"the WfRun is {run.status}"
        case Obstacle.NOT_NAMED if it.thread is not None:
            return f"{thread}, to which it is addressed, has no interrupt and no EXTERNAL_EVENT node for it"
        case Obstacle.NOT_NAMED:
            return f"{run.wf_spec} has no interrupt and no EXTERNAL_EVENT node for it"
        case Obstacle.NO_SUCH_THREAD:
            known = "has ended" if run.was_used(it.thread or 0) else "was never started"
            return f"{thread}, to which it is addressed, {known}"
        case Obstacle.NO_LIVE_THREAD:
            what = "has an interrupt for it" if it.node is None else f"takes it at node {it.node}"
            return f"ThreadSpec {it.thread_spec} {what}, and no thread of it is live"
        case Obstacle.CANNOT_RESUME:
            return f"{thread} would take it, and can never run again"
        case Obstacle.CAME_BEFORE:
            return f"{thread} started after it, and its interrupt is not `preemptive`"
        case Obstacle.MISSED:
            return f"{thread} had ended when it came, and was rescued since"
        case Obstacle.MIGRATED_SINCE:
            return f"{thread} has an interrupt for it, and the WfRun went over to {run.wf_spec} after it had come"
        case Obstacle.NOT_THERE_YET:
            return f"{thread} takes it at node {it.node}, and is at node {it.at_node}"
        case Obstacle.HALTED_THERE:
            return f"{thread} takes it at node {it.node} when it runs again"
        case Obstacle.NODE_FAILED:
            return f"node {it.node} of {thread}, which would take it, has failed"
        case Obstacle.TOO_LATE:
            over = "" if it.time_ms is None else f", over since {iso(it.time_ms)}"
            return f"it came too late for node {it.node} of {thread}{over}"
        case Obstacle.BEHIND:
            return f"{thread} takes {it.external_event_id} first, at node {it.node}"
        case Obstacle.UNDECIDED:
            return f"{run.wf_spec} cannot be read, so nobody knows who would take it"
        case _:
            assert_never(it.obstacle)


def why_not_data(told: WhyNot, run: WfRun) -> dict[str, Any]:
    """What became of an ExternalEvent as plain JSON data."""
    return {
        "wf_run_id": told.wf_run_id,
        "external_event_id": told.external_event_id,
        "became": [
            {
                "fate": it.fate.value,
                "external_event_def": it.external_event_def,
                "origin": origin_data(it.origin),
                "thread": it.thread,
                "handler": it.handler,
                "node": it.node,
                "by": it.by,
                "reason": it.reason,
                "ended": it.ended,
                "hindrances": plain(it.hindrances),
                "record": plain(it.seen),
                "sentence": sentence,
            }
            for it, sentence in zip(told.became, why_not_sentences(told, run), strict=True)
        ],
        "folded": told.outside.folded.get(EXTERNAL_EVENTS),
        "end": told.outside.end.get(EXTERNAL_EVENTS),
    }
