"""The records: commands, events, the state that follows from events, and the values that these are made of.

Values only. They know no rule and no document: the rules use them, and they use nothing but Python.

    values, spec             the values that a Variable may hold; the parts of a WfSpec
    value_checks             whether any Python object is such a value, for whoever sends one
    commands, events, model  what is asked for, what happened, what the state is
    failures, names          names of failures and which handler catches them; the forms of ids and names
    fold_position            how far a partition has been folded
    topic_names              the names of the topics, without the prefix
    record, errors           how a record is declared; the class of all errors that are meant for users
"""
