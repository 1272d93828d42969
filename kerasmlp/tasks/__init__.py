"""Tasks: what differs between the kinds of problem that a network can learn. Today that is classification."""
