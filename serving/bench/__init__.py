"""``slotwise bench``: the same arrivals against one engine process per policy."""
