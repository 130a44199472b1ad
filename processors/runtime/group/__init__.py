"""This process and the cluster: its clients, its membership of the workers' group, its transactions, its questions.

Knows Kafka's protocol and no fold: loads and turns stand above it.

- `clients`        the Kafka clients and their settings
- `membership`     this process as a member of the workers' group
- `transaction`    the two transactional producers, and the fence
- `cluster`        questions to the cluster; `group_offsets` asks what the group has committed
- `calls`          blocking calls that are watched and made again; the watchdog
- `waiting`        work that waits for Kafka while the Kafka thread does something else
- `names`          the topics of a shard on the cluster
- `readiness`      what a worker is doing, for whoever waits for it
- `crash_points`   where tests end a worker
- `clock`, `errors`   the time; what ends a worker
"""
