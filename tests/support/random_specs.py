"""Random small WfSpecs as documents: all kinds of node, threads below `main`, interrupts and failure handlers anywhere.

A loop takes one off the Variable `n` in each round, so it ends. Some WfSpecs are refused at registration, and whoever
draws one skips it.
"""

from typing import Any

from hypothesis import strategies as st

THREADS = ("main", "a", "b", "c")
EXTERNAL_EVENTS = ("i", "j", "k", "go", "x")
MOMENT_MS = 1_767_225_605_000
"""Five seconds after the start."""
KEYS = (
    {"var": "n"},
    {"var": "order"},
    {"var": "order"},
    {"add": [{"var": "n"}, {"var": "moment"}]},
    {"divide": [10, {"var": "n"}]},  # no key where `n` is 0
)
"""Expressions of correlation keys."""
INTERRUPTS, AWAITED = EXTERNAL_EVENTS[:3], EXTERNAL_EVENTS[3:]


def _failure_handlers() -> st.SearchStrategy[list[dict[str, str]]]:
    handler = st.builds(
        lambda catch, handler: {"handler": handler} | ({} if catch is None else {"catch": catch}),
        st.sampled_from([None, "ERROR", "EXCEPTION", "oops", "CHILD_FAILED"]),
        st.sampled_from(THREADS[1:]),
    )
    return st.one_of(st.just([]), st.lists(handler, min_size=1, max_size=1))


def _edge(to: str, back: str | None = None) -> st.SearchStrategy[Any]:
    one_less = {"set": [{"var": "n", "op": "SUBTRACT", "value": 1}]}
    later = {"set": [{"var": "moment", "op": "ADD", "value": 10_000}]}
    ordered = {"set": [{"var": "order", "op": "ADD", "value": "x"}]}
    edges: list[Any] = [to, to, to, {"to": to} | one_less, {"to": to} | later, {"to": to} | ordered]
    if back is not None:
        edges.append([{"to": back, "when": {"gt": [{"var": "n"}, 0]}} | one_less, {"to": to}])
    return st.sampled_from(edges)


@st.composite
def _nodes(draw: st.DrawFn, thread: str) -> dict[str, Any]:
    below = THREADS[THREADS.index(thread) + 1 :]
    kinds = ["EXTERNAL_EVENT", "TASK", "TASK", "SLEEP", "WAIT_FOR_CONDITION", "NOP", "THROW_EVENT"]
    if below:
        kinds += ["START_THREAD", "START_AND_WAIT", "START_AND_WAIT", "START_MULTIPLE_AND_WAIT"]
    chain = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3))
    nodes: dict[str, Any] = {"start": {"kind": "ENTRYPOINT", "next": draw(_edge("n0"))}}
    for index, kind in enumerate(chain):
        after = f"n{index + 1}" if index + 1 < len(chain) else "end"
        nodes |= draw(_node(f"n{index}", kind, after, below))
    fails = draw(st.sampled_from([None, None, None, None, None, "broken"]))
    nodes["end"] = {"kind": "EXIT"} | ({} if fails is None else {"fail": {"name": fails}})
    return nodes


@st.composite
def _node(draw: st.DrawFn, name: str, kind: str, after: str, below: tuple[str, ...]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    handlers = draw(_failure_handlers())
    if handlers:
        more["on_failure"] = handlers
    more["next"] = draw(_edge(after, back="n0"))
    match kind:
        case "EXTERNAL_EVENT":
            timeout = draw(st.sampled_from([None, 10]))
            node = {"kind": kind, "event": draw(st.sampled_from(AWAITED))}
            return {name: node | ({} if timeout is None else {"timeout_s": timeout}) | more}
        case "TASK":
            retries = draw(st.sampled_from([0, 0, 1]))
            backoff = {"base_ms": 5000, "multiplier": 2, "max_ms": 9000}
            retry: dict[str, Any] = {"retries": retries, "backoff": backoff} if retries else {}
            bounds: dict[str, Any] = draw(st.sampled_from([{}, {}, {"queue_timeout_s": 20, "run_timeout_s": 8}]))
            return {name: {"kind": kind, "task": "t"} | retry | bounds | more}
        case "SLEEP":
            how: dict[str, Any] = draw(
                st.sampled_from([{"seconds": 10}, {"seconds": 10}, {"until": {"var": "moment"}}])
            )
            return {name: {"kind": kind} | how | more}
        case "THROW_EVENT":
            return {name: {"kind": kind, "event": "told", "content": {"var": "n"}} | more}
        case "WAIT_FOR_CONDITION":
            return {name: {"kind": kind, "condition": {"le": [{"var": "n"}, draw(st.integers(0, 2))]}} | more}
        case "START_THREAD":
            return {name: {"kind": kind, "thread": draw(st.sampled_from(below))} | more}
        case "START_AND_WAIT":
            children = draw(st.lists(st.sampled_from(below), min_size=1, max_size=2))
            nodes = {}
            for index, child in enumerate(children):
                following = f"{name}s{index + 1}" if index + 1 < len(children) else f"{name}w"
                start = {"kind": "START_THREAD", "thread": child, "next": following}
                nodes[name if index == 0 else f"{name}s{index}"] = start
            started = [{"output": node} for node in nodes]
            return nodes | {f"{name}w": draw(_wait(started)) | more}
        case "START_MULTIPLE_AND_WAIT":
            child = draw(st.sampled_from(below))
            spread = {"kind": "START_MULTIPLE_THREADS", "thread": child, "over": [1, 2], "next": f"{name}w"}
            return {name: spread, f"{name}w": draw(_wait({"output": name})) | more}
        case _:
            return {name: {"kind": "NOP"} | more}


@st.composite
def _wait(draw: st.DrawFn, threads: Any) -> dict[str, Any]:
    # By number they may be any thread's, and wait for each other.
    numbers = st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True)
    wait = {"kind": "WAIT_FOR_THREADS", "threads": draw(st.one_of(st.just(threads), st.just(threads), numbers))}
    wait["strategy"] = draw(st.sampled_from(["ALL", "ANY", "FIRST"]))
    on_child_failure = draw(_failure_handlers())
    if on_child_failure:
        wait["on_child_failure"] = on_child_failure
    return wait


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return the definitions of a random WfSpec named `small`, as the beginning of a scenario document."""
    threads: dict[str, Any] = {}
    owners = {event: draw(st.sampled_from(("main", "main", *THREADS, None))) for event in INTERRUPTS}
    for thread in THREADS:
        interrupts = [
            {"event": event, "handler": draw(st.sampled_from(THREADS[1:]))}
            | draw(st.sampled_from([{}, {}, {"policy": "serial"}, {"policy": "latest"}, {"halt": False}]))
            | draw(st.sampled_from([{}, {}, {"preemptive": True}]))
            for event, owner in owners.items()
            if owner == thread
        ]
        threads[thread] = {"nodes": draw(_nodes(thread))} | ({"interrupts": interrupts} if interrupts else {})
        input_type = draw(st.sampled_from([None, None, None, "INT", "INT", "STR"]))
        if thread != "main" and input_type is not None:
            threads[thread]["variables"] = {"INPUT": {"type": input_type}}
    threads["main"]["variables"] = {
        "n": {"type": "INT", "default": 2},
        "moment": {"type": "INT", "default": MOMENT_MS},
        "order": {"type": "STR", "default": draw(st.sampled_from(["", "A"]))},
    }
    taken = sorted(
        {event for event, owner in owners.items() if owner}
        | {node["event"] for it in threads.values() for node in it["nodes"].values() if "event" in node} - {"told"}
    )
    keys = {it: draw(st.sampled_from(KEYS)) for it in taken if draw(st.sampled_from([False, False, True]))}
    return {
        "name": "random",
        "external_events": {event: {} for event in EXTERNAL_EVENTS},
        "workflow_events": {"told": {"type": "INT"}},
        "tasks": {"t": {}},
        "wf_specs": [
            {"name": "small", "entrypoint": "main", "threads": threads} | ({"correlated_events": keys} if keys else {})
        ],
    }
