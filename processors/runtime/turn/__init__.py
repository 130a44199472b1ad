"""One turn: poll, fix the definitions, fold, commit; what to do when it cannot commit.

Stands on `loading` and `group`.
"""
