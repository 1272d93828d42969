"""One reader per kind of source; `choosing` finds the one that a text means."""
