"""Scenarios: tests of WfSpecs as documents. Given definitions, when these records arrive, then this is so.

files        runs scenario files, and places every problem at its file, line and column
definitions  registers definitions in memory
memory       the fold alone: the engine that scenarios run on without Kafka
keys         who has a correlation key there, and to whom an event by key goes
comparison   compares two states of a WfRun
found        shows a WfRun as plain data, in the words of the document, and compares it with what is expected
runner       takes the steps, one by one, to a verdict
writing      writes documents: definitions, commands, values, YAML
kafka        runs the same scenarios on Kafka, with a real worker
"""
