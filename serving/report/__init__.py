"""Tables, JSON and HTML made from the runs of ``slotwise bench`` (and later ``simulate``)."""
