"""This process and the cluster: its clients, its membership of the workers' group, its transactions, its questions.

Knows Kafka's protocol and no fold: what is loaded, and what a turn does, is above.
"""
