"""The names of the topics are written in one module."""

import ast
from pathlib import Path

from processors.core.records import topic_names
from processors.kafka.topics import Kind
from processors.kafka.topics_file import load_topics

REPOSITORY = Path(__file__).parents[2]
OWNER = REPOSITORY / "processors" / "core" / "records" / "topic_names.py"
NAMES = {value for name, value in vars(topic_names).items() if name.isupper() and isinstance(value, str)}
WORDS = {"definitions", "correlations", str(Kind.DEAD_LETTERS)}
"""Names that are also something else: a word, a command, a kind of topic."""


def test_the_names_are_those_of_topics_yaml():
    topics = load_topics()
    assert NAMES - {topic_names.QUEUE_PREFIX} == {topic.declared_name for topic in topics.all}
    assert topics.state == topic_names.SHARD_STATE


def test_a_named_queue_has_a_topic_of_its_own():
    assert topic_names.task_requests_of(None) == "task-requests"
    assert topic_names.task_requests_of("gpu") == "task-requests-gpu"


def test_nobody_else_writes_them():
    found = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}: {node.value}"
        for room in ("processors", "halter")
        for path in (REPOSITORY / room).rglob("*.py")
        if path != OWNER
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in NAMES - WORDS
    ]
    assert not found
