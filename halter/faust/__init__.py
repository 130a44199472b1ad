"""Halter in a Faust application of yours (docs/interop.md). Faust finds both parts by the entry points of Halter.

    codec       `value_serializer="halter"`: values are the classes of `halter.events` and `halter.commands`
    transport   `broker="kafka+committed://..."`: only committed records are read

Imports nothing by itself: Faust loads the entry points of every installed package, in programs that never use them.
Knows how Faust is extended. The engine's own Faust application (`processors.worker`) uses none of this.
"""
