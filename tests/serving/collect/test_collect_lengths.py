import asyncio
import csv
import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from predictor.errors import DatasetError, EngineError
from serving.collect.lengths import CollectSettings, collect, read_prompts, write_prompts
from training.lengths import read_lengths


class Server(ThreadingHTTPServer):
    """Answers with one token per character of the prompt, until told to fail."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0
        self.fail_from = None
        self.status = 503
        self.usage = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        server.asked += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if server.fail_from is not None and server.asked >= server.fail_from:
            return self.answer(server.status, {"error": {"message": "no"}})
        size = min(len(body["messages"][0]["content"]), body["max_tokens"])
        usage = {"prompt_tokens": 3, "completion_tokens": size}
        return self.answer(200, {"usage": usage} if server.usage else {})

    def answer(self, status, document):
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("serving.collect.lengths._BACKOFF_S", 0.0)
    with Server() as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"id": f"p{n}", "prompt": "x" * (n + 1)}) for n in range(6)]
    file.write_text("\n".join(lines))
    return read_prompts(file)


def run(server, prompts, output, **changes):
    settings = CollectSettings(
        base_url=f"http://127.0.0.1:{server.server_port}",
        model="m",
        **{"samples": 2, "max_tokens": 4, "concurrency": 2, **changes},
    )
    told = []
    asking = collect(
        prompts,
        settings,
        output,
        served_name="m",
        progress=lambda done, total: told.append((done, total)),
    )
    count = asyncio.run(asking)
    return count, told


def test_lengths_are_measured_and_read_back(server, prompts, tmp_path):
    count, told = run(server, prompts, tmp_path / "lengths.csv.gz")
    assert (count, told[-1]) == (6, (6, 6))
    write_prompts(tmp_path / "prompts.jsonl.gz", prompts, private=False)
    rows = read_lengths(tmp_path)
    assert rows.samples.tolist() == [[n, n] for n in (1, 2, 3, 4, 4, 4)]
    assert rows.cut.sum() == 6  # those that reached max_tokens


def test_a_server_that_dies_leaves_what_came_and_the_run_goes_on(server, prompts, tmp_path):
    output = tmp_path / "lengths.csv.gz"
    server.fail_from = 7
    with pytest.raises(EngineError, match="goes on from there"):
        run(server, prompts, output, concurrency=1)
    kept = list(csv.DictReader(gzip.decompress(output.read_bytes()).decode().splitlines()))
    assert 1 <= len(kept) < 6
    server.fail_from, server.asked = None, 0
    count, _ = run(server, prompts, output)
    assert count == 6
    assert server.asked == 2 * (6 - len(kept))


def test_a_refusal_is_told(server, prompts, tmp_path):
    server.fail_from, server.status = 1, 404
    with pytest.raises(EngineError, match="HTTP 404"):
        run(server, prompts, tmp_path / "lengths.csv.gz")
    assert not (tmp_path / "lengths.csv.gz").exists()


def test_answers_without_counts(server, prompts, tmp_path):
    server.usage = False
    with pytest.raises(EngineError, match="token counts"):
        run(server, prompts, tmp_path / "lengths.csv.gz")


def test_other_settings_do_not_mix(server, prompts, tmp_path):
    output = tmp_path / "lengths.csv.gz"
    run(server, prompts, output)
    with pytest.raises(DatasetError, match="other settings"):
        run(server, prompts, output, temperature=0.5)


def test_private_mode_keeps_no_text(prompts, tmp_path):
    write_prompts(tmp_path / "prompts.jsonl.gz", prompts, private=True)
    content = gzip.decompress((tmp_path / "prompts.jsonl.gz").read_bytes()).decode()
    assert "xxx" not in content
    assert json.loads(content.splitlines()[0]).keys() == {
        "prompt_id", "sha256", "feature_version", "features",
    }  # fmt: skip


@pytest.mark.parametrize("content", ["", "{}", '{"prompt": ""}', "[1]", "not json"])
def test_bad_prompts(tmp_path, content):
    file = tmp_path / "prompts.jsonl"
    file.write_text(content)
    with pytest.raises(DatasetError):
        read_prompts(file)
