"""Writes events.jsonl: what the customers of a shop did in an hour, and what went wrong on the way to Kafka.

    python make_events.py > events.jsonl
    python make_events.py --carts 20 --seed 7

The same carts and seed give the same bytes. Each line is one record:

    topic       without a prefix
    record      the name of its Avro schema, and
    value       its fields; or, in place of both,
    hex         the bytes of a value that is no record, and `fill`: the number of zero bytes after them
    key         if it is not the wf_run_id of the value; null if the record has none
    partition   if its producer chose one
    note        why it is in the file, if it is not an ordinary step of a customer
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from typing import Any

Line = dict[str, Any]

CUSTOMERS = [
    "Amina Diallo", "Björn Lindqvist", "Chiara Conti", "Dmitri Volkov", "Elena García", "Femi Adeyemi", "Grace O'Neill",
    "Hiroshi Tanaka", "Ines Ferreira", "Jakub Nowak", "Kateřina Dvořáková", "Liam Murphy", "Mei-Ling Chen",
    "Nour Haddad", "Oskar Schäfer", "Priya Raghavan", "Quentin Moreau", "Rosa Jiménez", "Sanne de Vries",
    "Tomás Herrera",
]  # fmt: skip
STREETS = [
    "12 Harbour Street", "Lindenallee 7", "Calle Mayor 41", "3 rue des Écoles", "88 Hill Road", "Via Roma 15",
    "Strandvägen 22", "5-1 Chuo-dori", "19 Station Lane", "Rua do Sol 6",
]  # fmt: skip
ARTICLES = [
    ("mug-01", "Stoneware mug", 1450), ("tea-07", "Darjeeling, 250 g", 1290), ("pan-28", "Cast iron pan 28 cm", 8900),
    ("book-113", "A History of Tides", 2450), ("lamp-4", "Desk lamp", 6490), ("soap-2", "Olive soap", 590),
    ("pen-9", "Fountain pen", 4900), ("rug-60", "Wool rug 60 x 90", 11900), ("seed-31", "Tomato seeds", 349),
    ("cup-5", "Espresso cup", 990), ("bag-12", "Canvas bag", 1990), ("clock-3", "Kitchen clock", 3590),
]  # fmt: skip
PAGES = ["/", "/kitchen", "/kitchen/pans", "/books", "/garden", "/sale", "/cart", "/delivery", "/contact"]
SLOTS = ["tomorrow 8-12", "tomorrow 12-18", "Saturday 9-13", "Monday 8-12", "parcel shop"]
REASONS = ["found it cheaper", "changed my mind", "ordered twice", "delivery takes too long"]
DECLINED_CARD = "card-00000002"
MERGED_AT_ONCE = 60
"""The number of carts that are busy at the same time."""


class Cart:
    """The steps of one customer, in order."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.wf_run_id = f"cart-{number:04}"
        self.rng = rng
        self.lines: list[Line] = []
        self.events = 0

    def steps(self) -> list[Line]:
        """Yield everything that the customer does."""
        rng = self.rng
        first, last = CUSTOMERS[rng.randrange(len(CUSTOMERS))], None
        card = DECLINED_CARD if rng.random() < 0.06 else f"card-{rng.randrange(10**8):08}"
        in_cart: list[Line] = []
        self.run({"customer": first, "card": card})
        for _ in range(rng.randint(3, 17)):
            step = rng.random()
            if step < 0.40 or not in_cart:
                sku, name, cents = rng.choice(ARTICLES)
                item = {"sku": sku, "name": name, "quantity": rng.choice((1, 1, 1, 2, 3)), "price_cents": cents}
                in_cart.append(item)
                last = self.event("item-added", item)
            elif step < 0.52:
                last = self.event("item-removed", in_cart.pop(rng.randrange(len(in_cart))))
            elif step < 0.64:
                last = self.event("address-changed", f"{rng.choice(STREETS)}, {first}")
            else:
                last = self.event("page-seen", rng.choice(PAGES))
            if rng.random() < 0.02 and last is not None:
                self.lines.append({**last, "note": "repeated: the shop was not sure that it got through"})
        self.finish(rng.random())
        if rng.random() < 0.10:
            # The shop sends it before it sends the RunWf. Early events are there when the cart starts.
            self.lines[0], self.lines[1] = {**self.lines[1], "note": "early: before its cart"}, self.lines[0]
        return self.lines

    def finish(self, end: float) -> None:
        """Most carts are paid for, some are cancelled, some are abandoned."""
        if end < 0.10:
            return
        slot_first = self.rng.random() < 0.5
        if slot_first:
            self.event("slot-chosen", self.rng.choice(SLOTS))
        if end < 0.20:
            self.event("cancelled", self.rng.choice(REASONS))
            self.event("page-seen", "/", note="late: the cart is about to end, or has ended")
            return
        self.event("checkout")
        if not slot_first:
            self.event("page-seen", "/delivery")
            self.event("slot-chosen", self.rng.choice(SLOTS))
        # The card is being charged now: an interrupt has to wait for that.
        if end < 0.45:
            self.event("address-changed", self.rng.choice(STREETS), note="while the card is charged, perhaps")
            self.event("page-seen", "/cart")
            self.event("page-seen", "/")
        elif end < 0.50:
            self.event("cancelled", "changed my mind after all", note="while the card is charged, perhaps")
        elif end < 0.55:
            self.event("checkout", note="twice: nobody waits for the second one")

    def run(self, variables: Line) -> None:
        value = {"wf_run_id": self.wf_run_id, "wf_spec_name": "cart", "variables": variables}
        self.lines.append({"topic": "wf-commands", "record": "RunWf", "value": value})

    def event(self, name: str, content: Any = None, note: str | None = None) -> Line:
        self.events += 1
        value = {
            "wf_run_id": self.wf_run_id,
            "external_event_def": name,
            "external_event_id": f"{self.wf_run_id[5:]}-{self.events}",
        }
        if content is not None:
            value["content"] = content
        line: Line = {"topic": "external-events", "record": "ExternalEvent", "value": value}
        if note is not None:
            line["note"] = note
        self.lines.append(line)
        return line


def mishaps(carts: int, rng: random.Random) -> Iterator[Line]:
    """Yield records that are refused, or cannot be decoded at all."""

    def some_cart() -> str:
        return f"cart-{rng.randrange(1, carts + 1):04}"

    def event(wf_run_id: str, name: str, number: int, content: Any, **more: Any) -> Line:
        value = {
            "wf_run_id": wf_run_id,
            "external_event_def": name,
            "external_event_id": f"mishap-{number}",
            "content": content,
        }
        return {"topic": "external-events", "record": "ExternalEvent", "value": value, **more}

    def command(record: str, **value: Any) -> Line:
        return {"topic": "wf-commands", "record": record, "value": value}

    for number in range(max(1, carts // 30)):
        cart = some_cart()
        yield event(cart, "address-changed", number, 12, note="the wrong type: a number for an address")
        yield event(cart, "wishlist-opened", number, "x", note="no ExternalEventDef has this name")
        yield event(f"cart/{number}", "page-seen", number, "/", note="no id of a WfRun: it has a slash")
        yield event(cart, "page-seen", number, "/", key=f"shop-{number % 4}", note="keyed by shop, not by WfRun")
        yield event(cart, "page-seen", number, "/", key=None, note="without a key")
        yield {
            "topic": "external-events", "key": cart, "hex": json.dumps({"cart": cart, "page": "/"}).encode().hex(),
            "note": "JSON where Avro is expected",
        }  # fmt: skip
        yield {**command("RunWf", wf_run_id=cart, wf_spec_name="cart", variables={"customer": "?", "card": "?"}),
               "note": "a second RunWf of the same id: too late, or the first one is"}  # fmt: skip
    wrong_home = event("cart-0001", "page-seen", 900, "/")
    yield from (
        # Whatever the number of partitions is, one of two neighbours is the wrong one.
        {**wrong_home, "partition": 0, "note": "partitioned by hand"},
        {**wrong_home, "partition": 1, "note": "partitioned by hand"},
        {"topic": "external-events", "key": "cart-0002", "hex": "c3010123456789abcdef00", "note": "an unknown schema"},
        {"topic": "external-events", "key": "cart-0002", "hex": "c301", "fill": 300_000, "note": "larger than 256 KiB"},
        {"topic": "external-events", "key": "cart-0002", "hex": None, "note": "a tombstone"},
        {**command("StopWfRun", wf_run_id="cart-0003"), "topic": "external-events", "note": "a command among events"},
        {**command("StopWfRun", wf_run_id="cart-9999"), "note": "there is no such cart"},
        {**command("RunWf", wf_run_id="wish-0001", wf_spec_name="wishlist"), "note": "there is no such WfSpec"},
        {**command("RunWf", wf_run_id="cart-9998", wf_spec_name="cart"), "note": "required Variables are missing"},
        {**command("ResumeWfRun", wf_run_id="cart-0004"), "note": "it is not stopped: nothing to do"},
        {"topic": "task-reports", "record": "ReportTaskRun", "note": "a report that nobody asked for",
         "value": {"wf_run_id": "cart-0005", "incarnation": 0, "thread": 0, "position": 3, "attempt": 1,
                   "status": "SUCCESS"}},
    )  # fmt: skip


def merged(streams: list[list[Line]], rng: random.Random) -> Iterator[Line]:
    """Yield the steps of all carts. Each cart's are in order, and some carts are busy at the same time."""
    waiting = list(reversed(streams))
    busy: list[Iterator[Line]] = []
    while waiting or busy:
        while waiting and len(busy) < MERGED_AT_ONCE:
            busy.append(iter(waiting.pop()))
        chosen = rng.randrange(len(busy))
        line = next(busy[chosen], None)
        if line is None:
            del busy[chosen]
        else:
            yield line


def lines(carts: int, seed: int) -> list[Line]:
    """Yield all records in the order in which they are produced."""
    rng = random.Random(seed)
    records = list(merged([Cart(number, rng).steps() for number in range(1, carts + 1)], rng))
    for mishap in mishaps(carts, rng):
        records.insert(rng.randrange(len(records) // 10, len(records)), mishap)
    return records


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="Print events.jsonl.")
    parser.add_argument("--carts", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for line in lines(options.carts, options.seed):
        sys.stdout.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
