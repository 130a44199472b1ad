"""Gives a cluster the topics of topics.yaml (`admin`), lists its rights (`acls`), describes all of it (`asyncapi`)."""
