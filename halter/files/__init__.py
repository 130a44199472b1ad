"""Files that people write: WfSpecs, definitions and scenarios in YAML. Every problem has its line and column.

Also files that commands write, and values as people type them.

    yaml_files, json_tokens  reads text, and remembers where every value stands
    text_places              the place of a problem inside an expression
    definition_files         files of definitions, and their WfSpecs
    definitions_document     the document that such a file holds
    document_kinds           which of our documents a file is
    scenario_document        reads scenario documents
    scenario                 what a scenario document stands for
    programs                 what is used of a module of the user's
    typed_values             values as people type them
    whole_file               writes a file that appears when it is complete
"""
