"""SLO-aware scheduling: snapshot -> policy -> decision; no engine, no web framework inside."""
