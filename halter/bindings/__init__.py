"""Bindings: topics that are there already become ExternalEvents, by a document and without code.

    model, document      a document's bindings, and reading them
    formats              bytes of a key or value to a Value
    records              what the templates of a binding may use of a record
    mapping              what a record becomes: commands or a refusal; pure
    definitions_check    what the definitions of an installation say to a document
    files                reads a document from its file, with what it names
    samples              records that people write down, to see what they become
    telling              what records become, as text and as plain data

`halter.transform` has what reads topics and writes what the mapping says.
"""
