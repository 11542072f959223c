"""One policy per file; ``scheduler.registry`` knows them by name."""
