"""From a shard that the group has given us to one that can be folded: settle, sign, restore, begin.

- `load`          the four steps, in this order
- `settlement`    settle: nothing of a former owner is open
- `signing`       sign: the next owner can fence us
- `restore`       restore: read the state topics to a known end
- `beginning`     begin: where the inputs go on
- `definitions`   the worker's view of `definitions`
- `checkpoints`   tells stores with files how far the state topics go
- `vacancies`     shards of nobody
- `garbage`       keeps Python's collector away from restored state

Stands on `group`. The turns stand above it.
"""
