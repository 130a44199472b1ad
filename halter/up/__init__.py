"""Everything of a laptop in one process tree: a broker, its topics, a worker, and what else was not left out.

parts    what the parts are: their commands, what they need, and where to go
tree     starts them in order, starts again what ends, and ends all
folder   the folder that keeps data and logs, and that only one tree may use
status   the one line that says how they are
"""
