"""What people touch: client, worker, history, command line and the embedded broker.

May import `processors`; nothing in `processors` imports this.
"""
