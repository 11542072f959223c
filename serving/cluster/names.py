"""What things are called on a Ray cluster."""

APP = "slotwise"
NAMESPACE = "slotwise"
BOARD = "slotwise-board"
