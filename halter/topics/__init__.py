"""Gives a cluster the topics of topics.yaml (`admin`), and lists the rights of its services (`acls`)."""
