"""Files that people write: WfSpecs, definitions and scenarios in YAML. Every problem has its line and column.

Also files that commands write (`whole_file`).
"""
