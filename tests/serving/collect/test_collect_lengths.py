import asyncio
import csv
import gzip
import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from predictor.errors import DatasetError, EngineError, InputError
from serving.collect.lengths import (
    Asked,
    CollectSettings,
    collect,
    read_prompts,
    write_prompts,
)
from serving.collect.server import Retries, chat_url
from training.lengths import read_lengths


class Server(ThreadingHTTPServer):
    """Answers with one token per character of the prompt, until told to fail.

    ``instead`` maps a prompt to what is said in place of its answer: a status, or a status with
    headers and raw content; a list is worked off first, one entry a try.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0
        self.fail_from = None
        self.status = 503
        self.usage = True
        self.instead = {}
        self.paths = set()
        self.keys = set()
        self.prompts = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        server.asked += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server.paths.add(self.path)
        server.keys.add(self.headers.get("authorization"))
        text = body["messages"][0]["content"]
        server.prompts.append(text)
        other = server.instead.get(text)
        if isinstance(other, list):
            other = other.pop(0) if other else None
        if isinstance(other, int):
            return self.answer(other, {"error": {"message": "maximum context length is 2"}})
        if other is not None:
            return self.raw(*other)
        if server.fail_from is not None and server.asked >= server.fail_from:
            return self.answer(server.status, {"error": {"message": "no"}})
        size = min(len(body["messages"][0]["content"]), body["max_tokens"])
        usage = {"prompt_tokens": 3, "completion_tokens": size}
        choices = [{"message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]
        return self.answer(200, {"choices": choices} | ({"usage": usage} if server.usage else {}))

    def answer(self, status, document):
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def raw(self, status, headers, content):
        """``None`` hangs up; a content-length larger than the content cuts the body."""
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"content-length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "content-length" in headers

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
    base_url = f"http://127.0.0.1:{server.server_port}"
    settings = CollectSettings(
        **{"base_url": base_url, "model": "m", "samples": 2, "max_tokens": 4, "concurrency": 2}
        | changes
    )
    told = []
    asking = collect(
        prompts,
        settings,
        output,
        served_name="m",
        progress=lambda done, total: told.append((done, total)),
    )
    return asyncio.run(asking), told


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
    rows = list(csv.DictReader(gzip.decompress(output.read_bytes()).decode().splitlines()))
    assert 1 <= len(rows) < 6
    server.fail_from, server.asked = None, 0
    count, _ = run(server, prompts, output)
    assert count == 6
    assert server.asked == 2 * (6 - len(rows))


def test_a_route_that_is_not_there_ends_the_run(server, prompts, tmp_path):
    server.fail_from, server.status = 1, 404
    with pytest.raises(EngineError, match="HTTP 404"):
        run(server, prompts, tmp_path / "lengths.csv.gz")
    assert not (tmp_path / "lengths.csv.gz").exists()


def kept(output):
    """The ids of the rows in a file of lengths."""
    text = gzip.decompress(output.read_bytes()).decode()
    return [row["prompt_id"] for row in csv.DictReader(text.splitlines())]


ALL_BUT_P1 = ["p0", "p2", "p3", "p4", "p5"]
P1_FAILED = r"1 prompts could not be answered, 'p1' among them: .*5 rows are kept"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_refused_prompt_is_named_and_the_others_are_kept(server, prompts, tmp_path, status):
    output = tmp_path / "lengths.csv.gz"
    server.instead = {"xx": status}
    with pytest.raises(EngineError, match=P1_FAILED) as caught:
        run(server, prompts, output, concurrency=1)
    assert f"HTTP {status}" in str(caught.value)
    assert "maximum context length" in str(caught.value)
    assert kept(output) == ALL_BUT_P1
    server.prompts.clear()
    with pytest.raises(EngineError, match=P1_FAILED):
        run(server, prompts, output)
    assert server.prompts == ["xx"]


WHILE = {
    "429 with a pause": (429, {"retry-after": "0"}, b""),
    "a pause until a date": (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b""),
    "a pause that is none": (503, {"retry-after": "soon"}, b""),
    "408": (408, {}, b""),
    "409": (409, {}, b""),
    "425": (425, {}, b""),
    "500": (500, {}, b"<html>"),
    "529": (529, {}, b""),
    "hung up": (None, {}, b""),
    "a body cut short": (200, {"content-length": 500}, b'{"usage": {'),
    "no JSON": (200, {}, b"<html>please wait</html>"),
    "no gzip": (200, {"content-encoding": "gzip"}, b"plain"),
    "nothing": (200, {}, b""),
    "a list": (200, {}, b"[1]"),
    "an error with status 200": (200, {}, b'{"error": {"message": "busy"}}'),
    "no usage": (200, {}, b'{"choices": [{}]}'),
    "usage is null": (200, {}, b'{"choices": [{}], "usage": null}'),
    "counts are null": (200, {}, b'{"choices": [{}], "usage": {"completion_tokens": null}}'),
    "counts are text": (200, {}, b'{"choices": [{}], "usage": {"completion_tokens": "2"}}'),
    "counts are no numbers": (200, {}, b'{"choices": [{}], "usage": {"completion_tokens": NaN}}'),
    "no choice": (200, {}, b'{"choices": [], "usage": {"completion_tokens": 0}}'),
    "choices are left out": (200, {}, b'{"usage": {"completion_tokens": 2}}'),
    "choices are null": (200, {}, b'{"usage": {"completion_tokens": 2}, "choices": null}'),
    "an aborted answer": (
        200, {}, b'{"choices": [{"finish_reason": "abort"}], "usage": {"completion_tokens": 1}}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WHILE)
def test_what_a_server_says_for_a_while_is_asked_again(server, prompts, tmp_path, what):
    server.instead = {"xx": [WHILE[what]] * 3}
    output = tmp_path / "lengths.csv.gz"
    count, _ = run(server, prompts, output, samples=1)
    assert count == 6
    assert server.prompts.count("xx") == 4
    text = gzip.decompress(output.read_bytes()).decode()
    assert "p1,m,3,2,1.0,1.0,4" in text.splitlines()


@pytest.mark.parametrize("what", ["500", "no JSON", "usage is null", "hung up"])
def test_a_prompt_that_a_server_chokes_on_is_named(server, prompts, tmp_path, what):
    server.instead = {"xx": WHILE[what]}
    with pytest.raises(EngineError, match=P1_FAILED):
        run(server, prompts, tmp_path / "lengths.csv.gz")
    assert kept(tmp_path / "lengths.csv.gz") == ALL_BUT_P1


def test_several_prompts_that_a_server_chokes_on_are_all_counted(server, prompts, tmp_path):
    server.instead = {"x" * size: WHILE["500"] for size in (1, 3, 4, 5)}
    with pytest.raises(EngineError, match=r"4 prompts could not be answered.*2 rows are kept"):
        run(server, prompts, tmp_path / "lengths.csv.gz", concurrency=6)
    assert kept(tmp_path / "lengths.csv.gz") == ["p1", "p5"]


def test_usage_alone_is_enough(server, prompts, tmp_path):
    server.instead = {"xx": (200, {}, b'{"usage": {"completion_tokens": 2.0}, "choices": [{}]}')}
    assert run(server, prompts, tmp_path / "lengths.csv.gz")[0] == 6


def test_answers_without_counts_end_the_run(server, prompts, tmp_path):
    server.usage = False
    with pytest.raises(EngineError, match="token counts"):
        run(server, prompts, tmp_path / "lengths.csv.gz")


def test_a_server_that_is_not_there(server, prompts, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://name:secret@127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(EngineError, match=r"cannot be reached .*--base-url") as caught:
            run(server, prompts, tmp_path / "lengths.csv.gz", base_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_key_says_how_to_give_it(server, prompts, tmp_path, status):
    server.fail_from, server.status = 1, status
    with pytest.raises(EngineError, match=rf"HTTP {status}.*OPENAI_API_KEY.*--api-key"):
        run(server, prompts, tmp_path / "lengths.csv.gz", concurrency=1)
    assert server.asked == 1


def test_a_filter_that_forbids_one_prompt_is_about_that_prompt(server, prompts, tmp_path):
    server.instead = {"xx": 403}
    with pytest.raises(EngineError, match=P1_FAILED):
        run(server, prompts, tmp_path / "lengths.csv.gz", concurrency=1)
    assert kept(tmp_path / "lengths.csv.gz") == ALL_BUT_P1


def test_the_key_comes_from_the_environment_or_the_option(server, prompts, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret\n")
    run(server, prompts, tmp_path / "a.csv.gz")
    run(server, prompts, tmp_path / "b.csv.gz", api_key="0ther")
    assert server.keys == {"Bearer s3cret", "Bearer 0ther"}
    assert "0ther" not in repr(CollectSettings(base_url="", model="m", api_key="0ther"))


def test_without_a_key_none_is_sent(server, prompts, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    run(server, prompts, tmp_path / "a.csv.gz")
    assert server.keys == {None}


def test_a_redirect_is_named(server, prompts, tmp_path):
    server.instead = {"x": (301, {"location": "https://elsewhere/v1"}, b"")}
    with pytest.raises(EngineError, match="redirects to https://elsewhere/v1"):
        run(server, prompts, tmp_path / "a.csv.gz", concurrency=1)


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_a_base_url_may_end_in_v1(server, prompts, tmp_path, end):
    url = f"http://127.0.0.1:{server.server_port}{end}"
    run(server, prompts, tmp_path / "a.csv.gz", base_url=url)
    assert server.paths == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h/prefix", "http://h/prefix/v1/chat/completions"),
        ("https://h:1/openai/v1/", "https://h:1/openai/v1/chat/completions"),
        ("http://h/api/v3", "http://h/api/v3/chat/completions"),
        (" http://[::1]:8000 ", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_base_urls(base_url, url):
    assert chat_url(base_url) == url


@pytest.mark.parametrize("base_url", ["localhost:8000", "", "ftp://h", "http://"])
def test_a_base_url_that_is_none(base_url):
    with pytest.raises(InputError, match="--base-url"):
        chat_url(base_url)


def test_pauses_grow_and_heed_the_server():
    retries = Retries(7, 0.5)
    assert [retries.pause(k, None) for k in range(3)] == [0.5, 1.0, 2.0]
    assert retries.pause(0, 7.0) == 7.0
    assert retries.pause(0, 7000.0) == retries.pause(30, None) == 60.0


def test_a_prompt_of_half_a_surrogate_pair_is_asked(server, tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "\\ud800", "prompt": "a\\ud800"}\n')
    count, _ = run(server, read_prompts(file), tmp_path / "a.csv.gz")
    assert count == 1


def test_ctrl_c_keeps_what_came(server, prompts, tmp_path):
    output = tmp_path / "lengths.csv.gz"

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    settings = CollectSettings(
        base_url=f"http://127.0.0.1:{server.server_port}", model="m", samples=1, concurrency=1
    )
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(collect(prompts, settings, output, served_name="m", progress=interrupt))
    assert len(gzip.decompress(output.read_bytes()).splitlines()) >= 4


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


def test_odd_prompts_are_left_out_and_counted(tmp_path, caplog):
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        '{"id": "a", "prompt": "A"}\noops\n{"prompt": " "}\n{"id": "a", "prompt": "Other"}\n'
        '{"custom_id": "r-1", "body": {"messages": [{"role": "user", "content": "B"}]}}\n'
    )
    assert read_prompts(file) == [Asked("a", "A"), Asked("r-1", "B")]
    for said in ("2 of 5 prompts", "1 x not JSON", "1 x an empty prompt", "1 x occurs twice"):
        assert said in caplog.text


@pytest.mark.parametrize("content", ["", "{}", '{"prompt": ""}', "[1]", "not json"])
def test_bad_prompts(tmp_path, content):
    file = tmp_path / "prompts.jsonl"
    file.write_text(content)
    with pytest.raises(DatasetError):
        read_prompts(file)


def test_a_damaged_row_of_an_earlier_run_is_asked_again(server, prompts, tmp_path, caplog):
    output = tmp_path / "lengths.csv.gz"
    run(server, prompts, output, samples=1)
    lines = gzip.decompress(output.read_bytes()).decode().splitlines(keepends=True)
    lines[2] = lines[2].replace(",2,", ",two,", 1)
    output.write_bytes(gzip.compress("".join(lines).encode()))
    asked = len(server.prompts)
    assert run(server, prompts, output, samples=1)[0] == 6
    assert len(server.prompts) == asked + 1
    assert "5 of 6 rows are used; left out: 1 x output_sizes is not a number" in caplog.text


def test_what_a_cut_file_of_an_earlier_run_lacks_is_asked_again(server, prompts, tmp_path, caplog):
    output = tmp_path / "lengths.csv.gz"
    run(server, prompts, output, samples=1)
    output.write_bytes(output.read_bytes()[:-12])
    asked = len(server.prompts)
    assert run(server, prompts, output, samples=1)[0] == 6
    assert asked < len(server.prompts) < asked + 6
    assert "the gzip data are cut" in caplog.text


def test_a_file_of_something_else_is_not_replaced(server, prompts, tmp_path):
    output = tmp_path / "lengths.csv.gz"
    output.write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"none of 1 rows can be used.*give a new file"):
        run(server, prompts, output, samples=1)
    assert output.read_text() == "a,b\n1,2\n"
