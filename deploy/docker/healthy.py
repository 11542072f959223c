#!/usr/bin/env python3
"""``healthy URL``: ends with 0 if a server answers there, for images that have no curl."""

import http.client
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 4.0


def healthy(url: str) -> bool:
    """Whether ``url`` answers with a status below 400 in time."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):
            return True
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(sys.argv[1]) else 1)
