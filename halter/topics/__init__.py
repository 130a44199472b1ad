"""Topics on a cluster: making them what topics.yaml says (`admin`), and the rights of its services (`acls`)."""
