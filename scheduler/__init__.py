"""SLO-aware scheduling: snapshot -> policy -> decision, with no engine and no web framework inside."""
