"""The records: what is asked (commands), what happened (events), what is so now (model), and what they are made of.

Values only. They know no rule and no document: a rule needs them, they need nothing but Python.

    values, spec             what a Variable may hold; what a WfSpec is
    commands, events, model  what is asked, what happened, what is so now
    failures, names          names of failures and which handler catches them; what may be an id or a name
    fold_position            how far a partition has been folded
    topic_names              the names of the topics, without the prefix
    record, errors           how a record is declared; the class of all errors that are meant for a user
"""
