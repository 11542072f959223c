"""``examples/slo_classes``: the file is read, and the client tells who met what."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.slo_config import load

FILE = Path(__file__).parents[2] / "examples/slo_classes/slos.yaml"


class Streaming(BaseHTTPRequestHandler):
    """Answers as vLLM streams; refuses the class ``batch`` as load shedding does."""

    asked: list[tuple[str, str]]

    def do_POST(self):
        name = self.headers["x-llm-d-inference-objective"]
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((name, body["model"]))
        self.send_response(429 if name == "batch" else 200)
        self.end_headers()
        if name == "batch":
            return
        for text in ("", "One", " line"):
            chunk = json.dumps({"choices": [{"delta": {"content": text}}]}, separators=(",", ":"))
            self.wfile.write(f"data: {chunk}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Streaming.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Streaming) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_the_file_names_three_classes():
    config = load(FILE)
    assert set(config.classes) == {"chat", "code", "batch"}
    assert config.default_class == "chat"
    assert [name for name, each in config.slo_classes().items() if each.sheddable] == ["batch"]


def test_each_class_is_asked_for_and_judged(run, server):
    lines = run("examples/slo_classes/client.py", server, "tiny").splitlines()
    assert sorted(Streaming.asked) == [("batch", "tiny"), ("chat", "tiny"), ("code", "tiny")]
    assert [line.split(":")[0] for line in lines] == list(load(FILE).classes)
    for line in lines[:2]:
        assert "TTFT 0." in line
        assert line.endswith(": attained")
    assert lines[2] == "batch: refused with status 429"
