"""The data of a timeline says what the log says: states, values and causes. Nothing in it is masked or deceives."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halter.cli import timeline as command
from halter.history.logged import Logged
from halter.scenarios.memory import MemoryEngine
from halter.show.redaction import Redactor
from halter.timeline import html, page, recording, sequence
from halter.timeline.mermaid import ARROWS_MAX
from halter.timeline.page import MODULES, embedded, script
from halter.timeline.recording import GROUPS
from halter.timeline.texts import VALUE_MAX, value_text, visible
from processors.core.records.commands import DeleteWfRun, ExternalEvent, RunWf
from processors.core.records.events import Event, LogEntry, WfRunDeleted, WfRunStarted
from processors.core.records.model import WfRun
from processors.core.rules.context import WfSpecLookup
from processors.core.rules.evolve import evolve, new_run
from tests.support.command_line import halter
from tests.support.memory_source import MemorySource
from tests.support.timelines import SCENARIOS, after, definitions_of, engine_of, heartbeats, log

DOCUMENTS = sorted(path.stem for path in SCENARIOS.glob("*.yaml") if "V24" not in path.stem)
FOLDER = Path(page.__file__).parent
SECRETS = """
external_events: {poke: {type: STR}}
wf_specs:
  - name: s
    entrypoint: main
    threads:
      main:
        variables: {card: {type: STR, masked: true}, open: {type: STR}, large: {type: STR}}
        interrupts: [{event: poke, handler: h}]
        nodes:
          start: {kind: ENTRYPOINT, next: wait}
          wait: {kind: SLEEP, seconds: 60, next: done}
          done: {kind: EXIT}
      h:
        variables: {INPUT: {type: STR}}
        nodes:
          start: {kind: ENTRYPOINT, next: {to: done, set: [{var: open, op: ASSIGN, value: {var: INPUT}}]}}
          done: {kind: EXIT}
"""


def fields_after(data: dict[str, Any], at: int) -> dict[str, Any]:
    """Return the fields of the state after an event, as the page puts them together."""
    fields: dict[str, Any] = {}
    for event in data["events"][: at + 1]:
        fields |= event[7]
    return {name: value for name, value in fields.items() if value is not None}


def expected(run: WfRun) -> dict[str, Any]:
    """Return the fields of a WfRun that a reader asks for first."""
    told: dict[str, Any] = {} if run.status is None else {"r.status": str(run.status)}
    for number, thread in run.threads.items():
        told |= {f"t{number}.status": str(thread.status), f"t{number}.node": thread.node.node}
        if thread.halt_reasons:
            told[f"t{number}.reasons"] = [str(reason) for reason in thread.halt_reasons]
        told |= {f"v{number}.{name}": value_text(value) for name, value in thread.variables.items()}
    for number, event in enumerate(run.external_events.values()):
        told[f"x{number}.status"] = str(event.status)
    return told


def last_wf_run(entries: list[LogEntry]) -> list[LogEntry]:
    """Return the events since the end of the WfRun before the last one."""
    started = [at for at, entry in enumerate(entries) if isinstance(entry.event, WfRunStarted)]
    before = entries[: started[-1]] if started else entries
    ends = [at + 1 for at, entry in enumerate(before) if isinstance(entry.event, WfRunDeleted)]
    return entries[ends[-1] :] if ends else entries


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_state_at_each_event_is_the_one_that_its_log_gives(document: str) -> None:
    engine = after(document)
    for wf_run_id in engine.runs:
        entries = last_wf_run(engine.log_of(wf_run_id))
        if not entries or len(entries) > 1000:
            continue
        data = recording(wf_run_id, log(engine, wf_run_id), engine.context.definitions)
        assert len(data["events"]) == len(entries)
        run, fields = new_run(wf_run_id), dict[str, Any]()
        for event, entry in zip(data["events"], entries, strict=True):
            evolve(run, entry)
            fields |= event[7]
            shown = {name: value for name, value in fields.items() if value is not None}
            gone = {name.partition(".")[0][1:] for name in shown if name.endswith(".gone")}
            for name, value in expected(run).items():
                found = shown.get(name)
                assert (data["values"][found] if name[0] == "v" and found is not None else found) == value, name
            variables = {name for name in shown if name[0] == "v" and name.partition(".")[0][1:] not in gone}
            assert variables == {name for name in expected(run) if name[0] == "v"}
            threads = {it for name in shown if name[0] == "t" and (it := name.partition(".")[0][1:]) not in gone}
            assert threads == {str(number) for number in run.threads}


def test_what_a_thread_waits_for_is_said_while_it_waits_and_no_longer() -> None:
    engine = after("06-kill-with-cleanup")
    data = recording("order-1", log(engine, "order-1"), engine.context.definitions)
    names = [data["kinds"][event[2]][0] for event in data["events"]]
    requested, failed = names.index("TaskAttemptRequested"), names.index("ThreadFailed")
    held = fields_after(data, requested)["t0.why"]
    assert all(it in held for it in ("HALTED", "kill k1", "external-events[0]@0", "#1 clean-up", "release-stock"))
    assert "release-stock" in fields_after(data, requested)["t1.why"]
    assert "waits for" not in fields_after(data, failed)["t1.why"]


def test_arrows_lead_from_the_event_to_the_thread_to_its_handler_and_back() -> None:
    engine = after("01-update-contact-info")
    data = recording("order-1", log(engine, "order-1"), engine.context.definitions)
    first = [[source, target, what] for _, source, target, what in data["arrows"]]
    assert first == [["x0", 0, "interrupts"], [0, 1, "starts"], [1, 0, "resumes"], ["x1", 0, "is taken"]]


def test_every_kind_of_event_has_its_group() -> None:
    grouped = [kind for kinds in GROUPS.values() for kind in kinds]
    assert sorted(grouped) == sorted(kind.__name__ for kind in get_args(Event))


def test_only_the_last_wf_run_of_an_id_is_shown() -> None:
    engine = engine_of(definitions_of(SECRETS))
    engine.put_all([RunWf("w", "s", {"open": "first"}), DeleteWfRun("w"), RunWf("w", "s", {"open": "second"})])
    data = recording("w", log(engine, "w"), engine.context.definitions)
    assert data["earlier"] > 0
    assert '"second"' in data["values"]
    assert '"first"' not in data["values"]


def test_without_the_beginning_there_are_events_and_no_states() -> None:
    engine = after("01-update-contact-info")
    entries = log(engine, "order-1")
    data = recording("order-1", entries[3:], engine.context.definitions)
    assert not data["whole"]
    assert len(data["events"]) == len(entries) - 3
    assert not any(event[7] for event in data["events"])


def test_masked_values_are_on_the_page_only_if_they_were_asked_for() -> None:
    engine = engine_of(definitions_of(SECRETS))
    engine.put(RunWf("w", "s", {"card": "4111-1111", "open": "seen"}))
    entries, specs = log(engine, "w"), engine.context.definitions
    redacted = [Logged(None, it) for it in Redactor(specs).entries([it.entry for it in entries])]
    masked = html(recording("w", redacted, specs))
    assert "4111-1111" not in masked
    assert "seen" in masked
    assert "4111-1111" in html(recording("w", entries, specs, masked=False))


class Unknown(WfSpecLookup):
    """Knows no WfSpec."""

    def wf_spec(self, wf_spec_id: Any) -> Any:
        from processors.core.records.errors import HalterError

        raise HalterError(f"there is no {wf_spec_id}")


def test_without_its_wf_spec_the_states_are_there_all_the_same() -> None:
    engine = after("01-update-contact-info")
    data = recording("order-1", log(engine, "order-1"), Unknown())
    assert fields_after(data, len(data["events"]) - 1)["t0.status"] == "COMPLETED"


def test_a_large_value_is_cut_and_its_length_is_said() -> None:
    engine = engine_of(definitions_of(SECRETS))
    engine.put(RunWf("w", "s", {"large": "x" * 100_000}))
    data = recording("w", log(engine, "w"), engine.context.definitions)
    [[beginning, length]] = [it for it in data["values"] if isinstance(it, list) and it[0].startswith('"xxx')]
    assert (len(beginning), length) == (VALUE_MAX, 100_002)
    assert len(html(data)) < 300_000


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "{{policy}}{{script}}",
    "\u2028\u2029",
    "admin\u202etxt.exe",
    "\u0000\u001b[31m\ufeff",
    "\ud800",
    "&lt;b&gt;&amp;",
    "\\u003c \\\\ \" ' `${alert(1)}`",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_ends_the_data_of_the_page_or_is_taken_for_markup(text: str) -> None:
    data = embedded({"value": text})
    assert not re.search(r"[<>&\x00-\x1f\x7f-\U0010ffff]", data)
    assert json.loads(data) == {"value": text}


@given(st.text())
def test_a_visible_text_has_only_characters_that_are_seen(text: str) -> None:
    shown = visible(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", shown)
    assert json.loads(value_text(text)) == text


@pytest.mark.parametrize("text", [it for it in HOSTILE if "\ud800" not in it])
def test_a_hostile_value_changes_nothing_of_the_page_but_its_data(text: str) -> None:
    engine = engine_of(definitions_of(SECRETS))
    engine.put_all([RunWf("w", "s", {"open": text}), ExternalEvent("w", "poke", "p1", text)])
    made = html(recording("w", log(engine, "w"), engine.context.definitions))
    harmless = html(recording("w", [], engine.context.definitions))
    data = re.compile(r'(?<=<script type="application/json" id="data">)[^<]*(?=</script>)')
    assert data.sub("", made) == data.sub("", harmless)
    assert len(data.findall(made)) == 1


def test_the_modules_can_be_one_script() -> None:
    """Every import is of a module before, by its own name, and no name is given twice."""
    given: set[str] = set()
    for name in MODULES:
        text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        imported = re.findall(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', text, re.MULTILINE)
        assert len(imported) == len(re.findall(r"^import\b", text, re.MULTILINE))
        assert all(MODULES.index(source) < MODULES.index(name) for _, source in imported)
        assert given.issuperset(part.strip() for names, _ in imported for part in names.split(",") if part.strip())
        own = re.findall(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
        assert len(own) == len(set(own))
        assert given.isdisjoint(own)
        given.update(own)
    assert not re.search(r"^(?:import|export)\b", script(), re.MULTILINE)
    assert {path.stem for path in FOLDER.glob("*.js")} == set(MODULES)


def test_the_page_asks_nothing_of_a_network() -> None:
    sources = [path for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".html"}]
    everything = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert set(re.findall(r"https?://[^\s\"']+", everything)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"(inner|outer)HTML|insertAdjacent|document\.write|eval\(|\bfetch\(|url\((?!#)", everything)


# halter timeline.


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[MemoryEngine], None]:
    """A function that makes the command read from an engine in memory instead of Kafka."""

    def read(engine: MemoryEngine) -> None:
        found = MemorySource(engine)
        monkeypatch.setattr(command, "source", lambda *_: nullcontext(found))

    return read


def test_the_command_writes_the_page_of_a_wf_run(
    reads: Callable[[MemoryEngine], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reads(after("06-kill-with-cleanup"))
    file = tmp_path / "page.html"
    code, out, err = halter(capsys, "timeline", "order-1", "-o", str(file))
    assert (code, out) == (0, "")
    assert str(file) in err
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_without_a_name_the_file_is_named_after_the_wf_run(
    reads: Callable[[MemoryEngine], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    reads(after("06-kill-with-cleanup"))
    halter(capsys, "timeline", "order-1")
    assert [path.name for path in tmp_path.iterdir()] == ["order-1.html"]
    assert "/" not in command.file_name("../../etc/passwd")


def test_masked_values_of_a_page_differ_where_they_differ(
    reads: Callable[[MemoryEngine], None], capsys: pytest.CaptureFixture[str]
) -> None:
    engine = engine_of(definitions_of(SECRETS))
    engine.put(RunWf("w", "s", {"card": "4111-1111"}))
    reads(engine)
    _, masked, _ = halter(capsys, "timeline", "w", "-o", "-")
    assert "4111-1111" not in masked
    assert "[redacted 1]" in masked
    _, shown, _ = halter(capsys, "timeline", "w", "-o", "-", "--unmask")
    assert "4111-1111" in shown


def test_an_unknown_wf_run_and_a_place_where_nothing_can_be_written_get_a_sentence(
    reads: Callable[[MemoryEngine], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reads(after("06-kill-with-cleanup"))
    code, _, err = halter(capsys, "timeline", "order")
    assert code == 1
    assert "'order-1'" in err
    code, _, err = halter(capsys, "timeline", "order-1", "-o", str(tmp_path))
    assert code == 1
    assert str(tmp_path) in err
    assert len(err.splitlines()) == 1


def test_the_diagram_has_the_arrows_of_the_page(
    reads: Callable[[MemoryEngine], None], capsys: pytest.CaptureFixture[str]
) -> None:
    reads(after("06-kill-with-cleanup"))
    _, out, _ = halter(capsys, "timeline", "order-1", "--mermaid")
    assert out.splitlines() == [
        "sequenceDiagram",
        "    participant world as outside",
        "    participant t0 as #35;0 main",
        "    participant t1 as #35;1 clean-up",
        "    world->>t0: kill k1 interrupts",
        "    t0->>t1: starts",
        "    t1->>world: task release-stock, attempt 1",
        "    world-->>t1: attempt 1 SUCCESS",
        "    Note over t1: failed EXCEPTION killed (on request)",
        "    t1--xt0: fails",
        "    Note over t0: failed EXCEPTION CHILD_FAILED (Interrupt Handler 1 failed) …",
    ]


def test_a_long_diagram_is_cut_and_says_so() -> None:
    engine = heartbeats(1000)
    lines = sequence(recording("d1", log(engine, "d1"), engine.context.definitions)).splitlines()
    assert len([line for line in lines if ">>" in line or "--x" in line]) <= ARROWS_MAX
    assert re.search(r"and \d+ more", lines[-1])
