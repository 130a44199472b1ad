"""An order that can be killed: the definitions and the WfSpec of order.yaml, written in Python.

halter spec put workflow.py:workflow
"""

from halter import Workflow
from halter.workflow import ExternalEventDef, TaskDef, Thread, Variable

order_killed = ExternalEventDef("order-killed", str)  # why

reserve_stock = TaskDef("reserve-stock", {"items": list}, int)  # its output is the number of pieces
charge_card = TaskDef("charge-card", {"card": str, "cents": int}, str)  # its output is a receipt
ship_parcel = TaskDef("ship-parcel", {"address": str}, str)  # its output is a number to track the parcel by
release_stock = TaskDef("release-stock", {}, int)
refund_card = TaskDef("refund-card", {}, int)  # its output is what was refunded, in cents

items = Variable("items", list, required=True)
card = Variable("card", str, required=True, masked=True)
cents = Variable("cents", int, required=True)
address = Variable("address", str, required=True)
reason = Variable("reason", str)


def main(thread: Thread) -> None:
    """Reserve, charge, ship. Whoever kills the order meanwhile interrupts it."""
    thread.declare(items, card, cents, address, reason)
    thread.interrupt(order_killed, clean_up)
    thread.task(reserve_stock, items=items, name="reserve")
    thread.task(charge_card, card=card, cents=cents, name="charge")
    parcel = thread.task(ship_parcel, address=address, name="ship")
    thread.exit(parcel, name="done")


def clean_up(thread: Thread) -> None:
    """Give back what the order holds, then fail. The order fails with its handler: CHILD_FAILED."""
    thread.assign(reason, thread.input(str))
    # The order may have been killed before it knew what a task came to. So both tasks go by its id, and find out.
    thread.task(release_stock, name="release")
    thread.task(refund_card, name="refund")
    thread.fail("order-killed", message=reason, name="killed")


workflow = Workflow("order", main)
