"""The command line, the engines Slotwise drives, and the reports it writes."""
