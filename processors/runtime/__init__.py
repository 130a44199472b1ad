"""The transactional runtime: records in, folds, one Kafka transaction out; nothing lost, doubled or out of order.

`docs/architecture.md` walks one record through it. `processors/fold/contract.py` says what it asks of a fold, and
`docs/adr/0001-one-transaction-per-turn.md` why it is as it is.

- `assembly`  puts the parts together
- `service`   runs turn after turn under the Faust app, and ends the worker when one cannot go on
- `turn`      one turn: poll, fold, commit
- `loading`   from a shard that the group has given us to one that can be folded
- `group`     this process and the cluster: clients, membership, transactions, questions

Nothing is imported here: only `assembly`, `service` and `turn/folding` need Faust, and tools use the rest without it.
"""
