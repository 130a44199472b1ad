"""The cart of cart.yaml, written in Python: the same definitions and the same WfSpec.

halter spec put examples/cart/workflow.py:workflow
"""

from halter import Workflow
from halter.workflow import ExternalEventDef, TaskDef, Thread, Variable

item_added = ExternalEventDef("item-added", dict)  # {sku, name, quantity, price_cents}
item_removed = ExternalEventDef("item-removed", dict)  # the same
address_changed = ExternalEventDef("address-changed", str)
page_seen = ExternalEventDef("page-seen", str)  # the shop tells which page the customer looks at: a heartbeat
slot_chosen = ExternalEventDef("slot-chosen", str)  # when the parcel should come
checkout = ExternalEventDef("checkout")
cancelled = ExternalEventDef("cancelled", str)  # why

charge_card = TaskDef("charge-card", {"customer": str, "card": str, "cents": int}, str)  # its output is the receipt
release_stock = TaskDef("release-stock", {"items": list})

customer = Variable("customer", str, required=True)
card = Variable("card", str, required=True, masked=True)
address = Variable("address", str, default="unknown")
items = Variable("items", list, default=[])
total_cents = Variable("total_cents", int, default=0)
slot = Variable("slot", str)
last_page = Variable("last_page", str)
reason = Variable("reason", str)
receipt = Variable("receipt", str)


def main(thread: Thread) -> None:
    """Wait for the checkout, then charge. Everything the customer does meanwhile is an interrupt."""
    thread.declare(customer, card, address, items, total_cents, slot, last_page, reason, receipt)
    # Now and then an event of a customer arrives before the record that starts the cart: `preemptive` takes it too.
    thread.interrupt(item_added, add_item, preemptive=True)
    thread.interrupt(item_removed, remove_item, preemptive=True)
    thread.interrupt(address_changed, change_address, preemptive=True)
    # Only the newest page matters of those seen while the cart cannot be interrupted.
    thread.interrupt(page_seen, note_page, policy="latest", preemptive=True)
    thread.interrupt(cancelled, cancel, preemptive=True)

    deliver = thread.start_thread(delivery, name="deliver")
    thread.wait_for_event(checkout, name="wait")
    thread.wait_for_threads([deliver], name="delivered")
    charged = thread.task(charge_card, customer=customer, card=card, cents=total_cents, name="charge")
    thread.assign(receipt, charged)
    thread.exit(receipt, name="done")


def delivery(thread: Thread) -> None:
    """Wait until the customer chooses when the parcel should come. A child halts and resumes with its parent."""
    chosen = thread.wait_for_event(slot_chosen, name="choose")
    thread.assign(slot, chosen)
    thread.exit(name="chosen")


# The handlers. Each is a child thread of the cart, so it reads and writes the cart's Variables.


def add_item(thread: Thread) -> None:
    """Put an item into the cart."""
    item = thread.input(dict)
    thread.extend(items, item)
    thread.add(total_cents, item["quantity"] * item["price_cents"])
    thread.exit(name="done")


def remove_item(thread: Thread) -> None:
    """Take an item out of the cart, if it is there."""
    item = thread.input(dict)
    with thread.if_(items.contains(item)):
        thread.remove_if_present(items, item)
        thread.subtract(total_cents, item["quantity"] * item["price_cents"])
    thread.exit(name="done")


def change_address(thread: Thread) -> None:
    """Note where the parcel goes."""
    thread.assign(address, thread.input(str))
    thread.exit(name="done")


def note_page(thread: Thread) -> None:
    """Note which page the customer looks at."""
    thread.assign(last_page, thread.input(str))
    thread.exit(name="done")


def cancel(thread: Thread) -> None:
    """End the cart: release the reserved stock, then fail, and the cart fails with it (CHILD_FAILED)."""
    thread.assign(reason, thread.input(str))
    thread.task(release_stock, items=items, name="release")
    thread.fail("cart-cancelled", message=reason, name="end")


workflow = Workflow("cart", main)
