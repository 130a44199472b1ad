"""Runs scenarios on a real Kafka with a real worker, to the same verdicts as in memory.

judge    runs the scenarios of one call of the command, each in a sandbox of its own
sandbox  the topics and the worker of one scenario, and their removal
workers  worker processes, started before they are needed
engine   the engine that the runner uses: it produces records and waits for their outcomes
view     everything a consumer can see: outcomes, rows, task requests
"""
