"""The diagram of a WfSpec: everything that it says is drawn, and nothing in it can break the drawing."""

import re
from typing import Any

from halter.show.diagram import mermaid
from processors.core.wf_spec.reader import read_wf_spec

EXIT = {"kind": "EXIT"}


def drawn(**threads: Any) -> str:
    wf_spec, problems = read_wf_spec({"name": "cart", "entrypoint": "main", "threads": threads})
    assert problems == []
    assert wf_spec is not None
    return mermaid(wf_spec)


HANDLER = {
    "variables": {"INPUT": {"type": "INT"}},
    "nodes": {
        "start": {
            "kind": "ENTRYPOINT",
            "next": {"to": "end", "set": [{"var": "total", "op": "ADD", "value": {"var": "INPUT"}}]},
        },
        "end": EXIT,
    },
}


def test_a_wf_spec_is_drawn_with_its_interrupts_and_handlers():
    text = drawn(
        main={
            "variables": {"total": {"type": "INT"}},
            "interrupts": [{"event": "add", "handler": "handler", "policy": "latest", "halt": False}],
            "nodes": {
                "start": {"kind": "ENTRYPOINT", "next": "pay"},
                "pay": {
                    "kind": "TASK",
                    "task": "charge",
                    "retries": 2,
                    "next": [{"to": "done", "when": {"gt": [{"var": "total"}, 5]}}, "failed"],
                    "on_failure": [{"catch": "TIMEOUT", "handler": "handler"}],
                },
                "done": EXIT,
                "failed": {"kind": "EXIT", "fail": {"name": "too-little"}},
            },
        },
        handler=HANDLER,
    )
    assert (
        text
        == """\
flowchart TD
  subgraph t0["main (entrypoint)<br/>total: INT"]
    t0n0(("start"))
    t0n1["pay<br/>TASK charge<br/>retries 2"]
    t0n2((("done")))
    t0n3((("failed<br/>fails: too-little")))
    t0i0[/"interrupt add (latest, does not halt)"/]
    t0n0 --> t0n1
    t0n1 -- "1: if total #62; 5" --> t0n2
    t0n1 -- "2: else" --> t0n3
  end
  subgraph t1["handler<br/>INPUT: INT"]
    t1n0(("start"))
    t1n1((("end")))
    t1n0 -- "total += INPUT" --> t1n1
  end
  t0i0 -.-> t1n0
  t0n1 -. "on TIMEOUT" .-> t1n0
"""
    )


def test_every_kind_of_node_is_drawn():
    nodes: dict[str, Any] = {
        "start": {"kind": "ENTRYPOINT"},
        "nop": {"kind": "NOP"},
        "event": {"kind": "EXTERNAL_EVENT", "event": "e", "timeout_s": 5},
        "nap": {"kind": "SLEEP", "seconds": 5},
        "until": {"kind": "SLEEP", "until_iso": "2026-01-01"},
        "one": {"kind": "START_THREAD", "thread": "handler"},
        "many": {"kind": "START_MULTIPLE_THREADS", "thread": "handler", "over": [1]},
        "join": {"kind": "WAIT_FOR_THREADS", "threads": [1], "on_child_failure": [{"handler": "handler"}]},
        "ready": {"kind": "WAIT_FOR_CONDITION", "condition": {"var": "total"}},
        "tell": {"kind": "THROW_EVENT", "event": "told"},
    }
    for name, after in zip(nodes, [*list(nodes)[1:], "done"], strict=True):
        nodes[name]["next"] = after
    text = drawn(main={"nodes": {**nodes, "done": {"kind": "EXIT", "return": 5}}}, handler=HANDLER)
    for label in (
        "event<br/>EXTERNAL_EVENT e<br/>timeout 5 s",
        "nap<br/>SLEEP for 5 s",
        "until<br/>SLEEP until #34;2026-01-01#34;",
        "one<br/>START_THREAD handler",
        "many<br/>START_MULTIPLE_THREADS handler",
        "join<br/>WAIT_FOR_THREADS ALL",
        "ready<br/>WAIT_FOR_CONDITION total",
        "tell<br/>THROW_EVENT told",
        "done<br/>returns 5",
        "starts one for each of [1]",
        "child: on any failure",
    ):
        assert label in text


def test_names_and_values_cannot_break_the_drawing():
    nasty = 'x"] --> y\n  end & <b> #quot; ` ** ~~ ; %%{init: {}}%% $$x$$ \u2028\u202e'
    start = {"kind": "ENTRYPOINT", "next": {"to": "subgraph", "when": {"eq": [nasty, 1]}}}
    text = drawn(main={"nodes": {"end": start, "subgraph": EXIT}})
    for line in text.splitlines():
        labels = re.findall(r'"([^"]*)"', line)
        assert line.count('"') == 2 * len(labels)
        assert not re.search(r"[<>&`*~%$\n\u2028\u202e]", "".join(labels).replace("<br/>", ""))
        assert not re.search(
            r"\b(end|subgraph)\b", re.sub(r'"[^"]*"', "", line).removeprefix("  end").removeprefix("  subgraph")
        )
    assert text.count("\n") == 6


def test_a_label_is_as_long_as_can_be_read():
    writes = [{"var": f"v{n}", "op": "ASSIGN", "value": "x" * 500} for n in range(50)]
    start = {"kind": "ENTRYPOINT", "next": {"to": "end", "when": {"eq": [{"var": "v0"}, "y" * 500]}, "set": writes}}
    variables = {f"v{n}": {"type": "STR"} for n in range(50)}
    text = drawn(main={"variables": variables, "nodes": {"start": start, "end": EXIT}})
    (label,) = re.findall(r't0n0 -- "(.*)" --> t0n1', text)
    lines = label.replace("#34;", '"').split("<br/>")
    assert lines[0].startswith('if v0 == "yyy')
    assert lines[1].startswith('v0 = "xxx')
    assert lines[-1] == "… and 46 more"
    assert max(map(len, lines)) == 60
