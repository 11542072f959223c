"""A stand-in for vLLM: /health, one child process, and ways to go wrong (``FAKE_MODE``).

ready     answers, and ends on SIGTERM
stubborn  answers, and neither it nor its child minds SIGTERM
broken    prints a traceback and ends during the start
mute      never answers
mortal    answers, and ends by itself at the third question
"""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MODE = os.environ["FAKE_MODE"]
CHILD = "import signal, time; {} time.sleep(600)"
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN);"


class Handler(BaseHTTPRequestHandler):
    """Answers 200 to everything."""

    questions = 0

    def do_GET(self) -> None:
        type(self).questions += 1
        self.send_response(200)
        self.end_headers()
        if MODE == "mortal" and self.questions == 3:
            print("RuntimeError: out of breath", flush=True)
            os._exit(7)

    def log_message(self, *args: object) -> None:
        """Keep the log for what matters."""


def main() -> None:
    """Start a child, then do as the mode says."""
    child = subprocess.Popen([sys.executable, "-c", CHILD.format(IGNORE * (MODE == "stubborn"))])
    Path(os.environ["FAKE_PIDS"]).write_text(f"{os.getpid()} {child.pid}\n")
    print("(APIServer pid=1) INFO 01-01 00:00:00 [x.py:1] non-default args: {}", flush=True)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE == "broken":
        print("nanobind: leaked 4 instances!\nnothing to see", flush=True)
        raise ValueError("no such model")
    if MODE == "mute":
        threading.Event().wait()
    port = int(sys.argv[sys.argv.index("--port") + 1])
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


main()
