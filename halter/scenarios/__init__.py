"""Scenarios: tests of WfSpecs as documents. Given definitions, when these records arrive, then this is so.

document     what a scenario document says, and everything that is wrong with one
memory       the fold with nothing around it: the engine that scenarios run on without Kafka
comparison   whether two states of a WfRun are the same
found        what expectations look at, as plain data in the words of the document
runner       the steps, one by one, to a verdict
"""
