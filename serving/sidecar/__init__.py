"""The REST sidecar: predictions, decisions and observations over HTTP, and a page."""
