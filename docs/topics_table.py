"""Write the tables of docs/topics.md from topics.yaml; with --check, fail if they differ.

python docs/topics_table.py
"""

import sys
from pathlib import Path

from docs.made import between, write_or_check
from processors.kafka.topics import Topic, Topics
from processors.kafka.topics_file import load_topics

PAGE = Path(__file__).with_name("topics.md")
BEGIN, END = "<!-- from topics.yaml: begin -->", "<!-- from topics.yaml: end -->"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def kept(topic: Topic) -> str:
    """Say how long records stay."""
    if topic.configs["cleanup.policy"] == "compact":
        return "last record of each key"
    milliseconds = int(topic.configs["retention.ms"])
    if milliseconds < 0:
        return "for ever"
    number, unit = (milliseconds // DAY_MS, "day") if milliseconds >= DAY_MS else (milliseconds // HOUR_MS, "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}"


def tables(topics: Topics) -> str:
    """Return the topics and who may use them, as Markdown."""
    rows = [
        "| Topic | What it is | Key | Records | Partitions | Kept |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{topic.name}` | {topic.description} | {topic.key} | {', '.join(topic.values)} | "
            f"{'1' if topic.partitions == 1 else 'N'} | {kept(topic)} |"
            for topic in topics.all
        ),
        "",
        "| Service | What it does | Reads | Writes |",
        "|---|---|---|---|",
        *(
            f"| {service.name} | {service.description} | {', '.join(service.consumes) or '-'} | "
            f"{', '.join(service.produces) or '-'} |"
            for service in topics.services
        ),
    ]
    return "\n".join(rows)


def page(text: str) -> str:
    """Return the page with the tables as topics.yaml has them now."""
    return between(text, BEGIN, END, f"\n{tables(load_topics())}\n")


if __name__ == "__main__":
    sys.exit(write_or_check(__file__, PAGE, page))
