"""From a shard that the group has given us to one that can be folded: settle, claim, restore, begin.

Stands on `group`; the turns are above it.
"""
