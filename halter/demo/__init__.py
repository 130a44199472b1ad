"""`halter demo`: runs an example on a real Kafka and checks the result.

stage      starts, kills and stops the processes: broker, worker, task worker
feed       produces the records of events.jsonl
watch      follows the log while the demo runs: which records have an outcome, and when it was seen
ledger     reads all topics again at the end, and checks that every input has exactly one outcome
report     prints the result
script     the order of the whole demo
"""
