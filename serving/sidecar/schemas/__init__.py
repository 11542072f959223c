"""What travels over the sidecar's HTTP interface; times in milliseconds."""
