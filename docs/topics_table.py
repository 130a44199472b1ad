"""Write the tables of docs/topics.md from topics.yaml; with --check, fail if they differ.

python docs/topics_table.py
"""

import sys
from pathlib import Path

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


def main() -> int:
    """Rewrite the page, or compare it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n{tables(load_topics())}\n{END}{after}"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if text == wanted:
        return 0
    print(f"{PAGE} differs from topics.yaml: run `python docs/topics_table.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
