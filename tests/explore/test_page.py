"""docs/explore.md shows what the commands print."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.support.command_line import halter

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explore.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n\$ (halter .+)\n((?:.*\n)+?)```", PAGE)


@pytest.mark.parametrize(("command", "shown"), CONSOLE, ids=[command for command, _ in CONSOLE])
def test_a_command_prints_what_the_page_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, shown: str
) -> None:
    monkeypatch.chdir(ROOT)
    _, out, _ = halter(capsys, *shlex.split(command)[1:])
    assert re.sub(r", [\d,]+ states/s", "", out).startswith(shown)


def test_the_page_shows_commands() -> None:
    assert len(CONSOLE) == 2


def test_the_claims_of_the_page_are_those_of_the_example() -> None:
    shown = yaml.safe_load(re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)[0])
    example = yaml.safe_load((ROOT / "examples" / "cart" / "claims.yaml").read_text(encoding="utf-8"))
    assert shown == {name: claims for name, claims in example.items() if name != "values"}
