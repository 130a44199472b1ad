"""The main job, shown and checked: `halter demo`.

stage      the processes: broker, worker, task worker; started, killed, stopped
feed       events.jsonl as ordinary Kafka records
watch      the log as it comes: what has an outcome, when it was seen
ledger     all topics, read afterwards by somebody who trusts nobody: every input, exactly one outcome
report     what is printed
script     the order of it all
"""
