"""Who holds the engine's slots next: plans over running and waiting requests together."""
