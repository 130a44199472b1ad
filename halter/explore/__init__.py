"""Exhaustive search for a user's WfSpec: every order of its inputs, up to a bound, and what an author wants to know.

It is pure: a WfSpec and its definitions in, findings out. It runs the engine's own rules and knows no Kafka.

subject    what is explored: one WfSpec, and the definitions that it needs
samples    the values that ExternalEvents, task outputs and start Variables may have
claims, claims_document
           what an author says must never, always or eventually be so, and the document that says it
inputs     the inputs that may come next in a state
states     states as values that share what did not change, and the key that tells them apart
search     goes from state to state, the nearest first
workers    the same search in several processes
coverage   what was reached on the way, so that what never was can be told
reads      which Variables a path read before anything wrote them
probing    whether threads that wait can ever go on
findings   what was found, and how an author reads it
documents  a finding as a scenario document
"""
