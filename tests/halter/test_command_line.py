"""The command line explains how it is used, with nothing running."""

import io
import json
import re
import shlex
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from halter import cli
from halter.cli import scenario, topics
from halter.cli.typed import BadValue, NoContentGiven, typed_content, typed_value, typed_values
from halter.cli.usage import UsageMistake
from halter.files.json_tokens import is_json
from halter.scenarios.files import FileVerdict
from halter.topics.admin import Action, Change, Plan
from processors.core.records.commands import DefinitionKind
from processors.core.records.events import Definition
from processors.core.records.value_checks import check_value
from processors.core.records.values import VariableType, from_json
from processors.kafka.topics_file import load_topics
from tests.support.command_line import halter

ROOT = Path(__file__).parents[2]
NOWHERE = ("-b", "127.0.0.1:1", "--connect-timeout", "0.3")
CART = ROOT / "examples" / "cart" / "cart.yaml"


# halter spec show.


def test_spec_show_reads_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CART.read_bytes())))
    code, out, _ = halter(capsys, "spec", "show", "-")
    assert (code, json.loads(out)["name"]) == (0, "cart")


def test_a_folder_of_the_same_name_is_no_wf_spec_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "examples")
    code, _, err = halter(capsys, "spec", "show", "cart", *NOWHERE)
    assert code == 1
    assert "127.0.0.1:1" in err, "it is looked for where WfSpecs are registered"


def test_a_file_has_no_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = halter(capsys, "spec", "show", str(CART), "--version", "7.7")
    assert code == 2
    assert err == (
        f"halter: --version: expected the name of a registered WfSpec with it, found the file {CART}; a file has no "
        "version, leave --version out\n"
    )


# Help.


def every_command(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command and all commands below it, each with the words that call it."""
    yield words, command
    for name in getattr(command, "commands", ()):
        yield from every_command(command.commands[name] if words else cli.load(name), *words, name)


EVERY_COMMAND = dict(every_command(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=lambda it: " ".join(("halter", *it)))
def test_help_shows_all_that_is_written_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    code, out, _ = halter(capsys, *words, "--help")
    command = EVERY_COMMAND[words]
    options = [it.help or "" for it in command.params if not getattr(it, "hidden", False)]
    written = [command.help or "", *options]
    without_examples = re.sub(r"(?m)^ *- `.+`$", "", "\n".join(written))
    assert "`" not in without_examples, "help does not show them: quote a command in a sentence with '…'"
    examples = command.epilog or ""
    assert "`" not in examples or examples.startswith("Example"), "as above"
    lost = [it for it in f"{' '.join(written)} {examples}".replace("`", "").split() if it != "-" and it not in out]
    assert (code, lost) == (0, []), "is it taken for markup?"
    assert re.findall(r"\(\)|\[\]|<>|''|\"\"|``|DIR/\.", out) == []
    assert re.sub(r"(?<=\w)'(?=\w)", "", out).count("'") % 2 == 0
    assert out.count('"') % 2 == 0


# halter topics.


@pytest.mark.parametrize(
    ("actions", "last"),
    [
        ((Action.UNCHANGED, Action.UNCHANGED), ["= 2 of 2 topics need no change"]),
        ((Action.CREATE, Action.UNCHANGED), ["= 1 of 2 topics need no change"]),
        ((Action.CREATE, Action.CREATE), []),
    ],
)
def test_a_plan_counts_the_topics_that_stay_as_they_are_if_there_are_any(
    actions: tuple[Action, ...], last: list[str]
) -> None:
    some = load_topics().all[: len(actions)]
    lines = list(topics.lines(Plan(tuple(map(Change, some, actions)))))
    assert [line for line in lines if not line.startswith("+ ")] == last
    assert len(lines) == actions.count(Action.CREATE) + len(last)


# Wrong use.


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "cart", "--version", "x"], "--version: expected MAJOR or MAJOR.REVISION, found 'x'"),
        (["spec", "show", "cart", "--version", "x"], "--version: expected MAJOR or MAJOR.REVISION, found 'x'"),
        (["run", "cart", "--var", "foo"], "--var: expected NAME=VALUE, found 'foo'"),
        (["show", "w", "-X", "foo"], "--property: expected KEY=VALUE, found no '=' in 'foo'"),
        (
            ["scenario", "run", "a.yaml", "--prefix", "p"],
            "--prefix: only for scenarios on Kafka; add --bootstrap, or leave this out",
        ),
        (
            ["topics", "plan", "--replication", "foo"],
            "--replication: expected a whole number of at least 1 or auto, found 'foo'",
        ),
        (
            ["worker", "--slot", "a", "--processes", "2"],
            "--slot is for one process; with --processes use --slot-prefix",
        ),
        (["broker", "--brokers", "2"], "--brokers: expected 1 or 3, found 2: two cannot outvote the loss of one"),
        (["broker", "--brokers", "0"], "--brokers: expected 1 or 3, found 0"),
        (["broker", "--brokers", "4"], "--brokers: expected 1 or 3, found 4"),
        (["worker", "--slot-prefix", "a"], "--slot-prefix is for several --processes; for one process use --slot"),
        (
            ["worker", "--processes", "2", "--health-port", "65535"],
            "--health-port: expected a port that has 1 more above it for --processes 2, found 65535",
        ),
        *(
            (
                [*command, "--health-host", "::"],
                "--health-host (HALTER_HEALTH_HOST): expected a --health-port with it, found none",
            )
            for command in (
                ["worker"],
                ["task-worker", "tasks:worker"],
                ["bind", "run", "b.yaml"],
                ["sink", "run", "s.yaml"],
                ["view"],
                ["console"],
            )
        ),
        (
            ["-b", "localhost:9092", "show", "w"],
            (
                "-b: expected the command first and its options behind it, found the option before 'show'; "
                "type `halter show … -b …`"
            ),
        ),
        (
            ["--property=sasl.password=secret", "spec", "list"],
            (
                "--property: expected the command first and its options behind it, found the option before 'spec'; "
                "type `halter spec … --property …`"
            ),
        ),
        (
            ["send", "w", "e", "-3"],
            (
                "there is no option -3; if it begins the CONTENT, type -- before that, and options before the --: "
                "`halter send … -- -3`"
            ),
        ),
        (["show", ""], "WF_RUN: expected the id of a WfRun, found an empty text"),
        (["show", "\udcff"], "expected text in UTF-8, found '\\udcff'"),
        (["history", "\udcff"], "expected text in UTF-8, found '\\udcff'"),
        (["send", "w", "e", "\udcff"], "expected text in UTF-8, found '\\udcff'"),
        (["run", "cart", "--var", "a=\udcff"], "expected text in UTF-8, found 'a=\\udcff'"),
    ],
    ids=lambda it: " ".join(it).encode("ascii", "replace").decode() if isinstance(it, list) else "",
)
def test_wrong_use_ends_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    assert halter(capsys, *arguments) == (2, "", f"halter: {sentence}\n")


# What is typed for a value.


OUT_OF_BOUNDS = {
    "9" * 20: "expected a whole number of at most 64 bits, found one of 68",
    str(-(2**64)): "at most 64 bits, found one of 65",
    str(10**40): "at most 64 bits, found one of 134",
    "-" + "9" * 5_000: "at most 64 bits, found one of 5000 digits",
    "1e400": "expected a finite number, found a number too large for a DOUBLE",
    "[1, -1e400]": "it[1]: expected a finite number, found a number too large for a DOUBLE",
    '{"a": [1, 99999999999999999999]}': "['a'][1]: ",
    '{"a": {"b": 1, "c": 2, "b": 3}}': "expected each key once, found 'b' again",
    "[" * 101 + "]" * 101: "at most 100 levels",
    "[" * 50_000 + "]" * 50_000: "at most 100 levels",
    '{"a": NaN}': "expected a finite number, found NaN",
    "[Infinity]": "expected a finite number, found Infinity",
    "[-Infinity]": "expected a finite number, found -Infinity",
    '"\\ud800"': "half of a surrogate pair",
    '{"\\ud800": 1}': "half of a surrogate pair",
    "[" + "1," * 300_000 + "1]": "at most 262144 bytes",
}


@pytest.mark.parametrize("declared", [None, VariableType.JSON_OBJ, VariableType.INT, VariableType.BOOL])
@pytest.mark.parametrize(("text", "sentence"), OUT_OF_BOUNDS.items(), ids=[text[:20] for text in OUT_OF_BOUNDS])
def test_json_that_can_be_no_value_is_no_text_either(text: str, sentence: str, declared: VariableType | None) -> None:
    with pytest.raises(BadValue, match=re.escape(sentence)) as refused:
        typed_value(text, declared, "--var it")
    assert str(refused.value).startswith("--var it")


@pytest.mark.parametrize("text", [*OUT_OF_BOUNDS, "{", "NaN", "text"])
def test_a_str_is_the_text_as_it_stands(text: str) -> None:
    if not text.startswith('"'):
        assert typed_value(text, VariableType.STR) == text


@pytest.mark.parametrize(
    "text", ["", "text", "NaN", "Infinity", "-Infinity", "oops}", "007", "'a'", "1 2", "nan", "a [1] {}"]
)
def test_what_is_no_json_and_does_not_begin_as_json_does_is_text(text: str) -> None:
    assert typed_value(text) == text


MEANT_AS_JSON = {
    '{"a": 1': "found its end at column 8",
    "{a: 1}": "found 'a' at column 2",
    "[1,": "found its end at column 4",
    "[1, 2}": "found '}' at column 6",
    ' [1] "x"': "found '\"' at column 6",
    '"unterminated': "found a quotation mark that is not closed at column 1",
    '{"a": "b}': "found a quotation mark that is not closed at column 7",
    '{"a" "b"}': "found '\"' at column 6",
    '{"a":\n  oops}': "found 'o' at line 2, column 3",
    "{": "found its end at column 2",
}


@pytest.mark.parametrize("declared", [None, VariableType.JSON_OBJ, VariableType.JSON_ARR, VariableType.INT])
@pytest.mark.parametrize(("text", "found"), MEANT_AS_JSON.items())
def test_what_begins_as_json_does_and_is_none_is_wrong_use_with_its_place(
    text: str, found: str, declared: VariableType | None
) -> None:
    with pytest.raises(BadValue) as refused:
        typed_value(text, declared)
    sentence, hint = str(refused.value).split("; to send it as text put it in quotation marks: ")
    assert sentence == f"CONTENT: expected JSON, {found}"
    [typed] = shlex.split(hint)
    assert typed_value(typed) == text


def test_the_hint_about_a_long_text_does_not_repeat_it() -> None:
    with pytest.raises(BadValue, match=re.escape("""in quotation marks: '"…"'""")):
        typed_value("{" + "x" * 10_000)


@pytest.mark.parametrize("text", MEANT_AS_JSON)
def test_text_for_a_str_may_begin_as_json_does(text: str) -> None:
    assert typed_values({"it": text}, {"it": VariableType.STR}) == {"it": text}


@settings(max_examples=300)
@given(st.text(st.sampled_from('{}[]",:0123456789.eE-+ \\ud8aNtrufls')) | st.text())
def test_whatever_is_typed_is_a_value_or_refused(text: str) -> None:
    try:
        value = typed_value(text)
    except BadValue:
        return
    check_value(value, "it")
    if value == text:
        assert not is_json(text)
        assert not text.strip(" \t\r\n").startswith(("{", "[", '"'))
    else:
        assert from_json(text) == value


def test_what_is_typed_wrong_is_wrong_use() -> None:
    with pytest.raises(BadValue):
        typed_values({"it": '{"a": 1, "a": 2}'}, {})


def test_content_may_be_missing_only_where_no_type_is_declared_or_somebody_says_so() -> None:
    kind = DefinitionKind.EXTERNAL_EVENT_DEF
    typed, free = (Definition(kind, "e", 0, 0, content_type=it) for it in (VariableType.STR, None))
    with pytest.raises(NoContentGiven, match="expected CONTENT behind e, a STR, found none"):
        typed_content(None, typed, no_content=False)
    with pytest.raises(UsageMistake, match="found both"):
        typed_content("x", typed, no_content=True)
    assert typed_content("5", typed, no_content=False) == "5"
    for definition, no_content in ((typed, True), (free, False), (free, True), (None, False)):
        assert typed_content(None, definition, no_content=no_content) is None


def test_a_misspelt_variable_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(BadValue, match=r"--var adress: expected a Variable .*, found none \(did you mean address\?\)"):
        typed_values({"adress": "x"}, {"address": VariableType.STR})
    assert issubclass(BadValue, UsageMistake)


def test_ctrl_c_between_two_scenarios_removes_what_they_have_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[bool] = []

    def verdicts() -> Generator[FileVerdict, None, None]:
        try:
            yield FileVerdict("a.yaml", "a", 1)
        finally:
            removed.append(True)

    def interrupted(_: FileVerdict) -> list[str]:
        raise KeyboardInterrupt

    held = verdicts()  # a traceback holds it like this, until a process ends that waits for nothing
    monkeypatch.setattr(scenario, "in_memory", lambda _: held)
    monkeypatch.setattr(scenario, "lines", interrupted)
    code, _, _ = halter(capsys, "scenario", "run", "a.yaml")
    assert (code, removed) == (130, [True])
