"""The document of a sink: what is wrong is told with line, column and what to do."""

from pathlib import Path

import pytest

from halter.sinks.files import InvalidSink, read_sink_file
from processors.kafka.topics_file import load_topics

TOPICS = load_topics(Path(__file__).parents[2] / "topics.yaml", "", 1)

GOOD = """\
name: totals
topic: shop.totals
wf_specs: [cart]
events: [variables]
"""
BAD = {
    "name: totals": "1:1 FIELD_MISSING expected the field topic, found none",
    GOOD.replace("totals\n", "my totals\n", 1): (
        "1:1 NAME_INVALID expected a name of at most 128 letters, digits and - (not first or last), found 'my totals'"
    ),
    GOOD.replace("name: totals", "name: ''"): (
        "1:1 NAME_INVALID expected a name of at most 128 letters, digits and - (not first or last), found ''"
    ),
    GOOD.replace("shop.totals", "shop totals"): "2:1 FIELD_VALUE expected the name of a topic, found 'shop totals'",
    GOOD.replace("shop.totals", "''"): "2:1 FIELD_VALUE expected the name of a topic, found ''",
    GOOD.replace("cart", "cart, ''"): "3:18 FIELD_VALUE expected a name, found an empty text",
    GOOD.replace("[cart]", "[]"): "3:1 FIELD_VALUE expected at least one name, found none; leave it out for all",
    GOOD.replace("variables", "variable"): (
        "4:10 FIELD_VALUE expected status, variables, all or an event, found 'variable' (did you mean variables?)"
    ),
    GOOD + "wehn: seq == 1": "5:1 FIELD_UNKNOWN the document of a sink has no field wehn (did you mean when?)",
    GOOD + "when: sequence == 1": "5:7 VAR_UNKNOWN there is no 'sequence' here",
    GOOD + "when: seq": "5:1 CONDITION_TYPE expected a BOOL, found INT",
}


def test_a_good_document_has_no_problems(tmp_path: Path) -> None:
    file = tmp_path / "sink.yaml"
    file.write_text(GOOD)
    sink = read_sink_file(file, TOPICS).sink
    assert (sink.name, sink.topic, sink.wf_specs, sink.events) == (
        "totals",
        "shop.totals",
        frozenset(["cart"]),
        frozenset(["variables"]),
    )


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_bad_document_is_told_with_line_and_column(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sink.yaml"
    file.write_text(text)
    with pytest.raises(InvalidSink) as raised:
        read_sink_file(file, TOPICS)
    (found,) = raised.value.problems
    assert f"{found.line}:{found.column} {found.code} {found.message.partition(': ')[2]}".startswith(BAD[text])
