"""Tell people: group, silence, send, record; at least once, and known."""
