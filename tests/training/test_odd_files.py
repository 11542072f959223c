"""Files that somebody damaged: every reader gives what it can use, or an error of ours."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import SlotwiseError
from scheduler.simulator.recorded import read_recorded
from serving import steplog
from serving.collect.lengths import read_prompts
from training.lengths import read_lengths
from training.sharegpt import read_sharegpt
from training.trace import read_trace

TURNS = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
CHAT = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "n": 1.5}
RECORDED = {
    "request_id": "a", "input_toks": 4, "output_toks": 5, "queued_ts": 1.0, "first_token_ts": 2.0,
    "last_token_ts": 3.0,
}  # fmt: skip
PROMPT = '{"prompt_id": "a", "prompt_text": "Hi"}\n'


def jsonl(*values):
    return "\n".join(map(json.dumps, values)) + "\n"


def in_folder(name, read, **others):
    def reads(file):
        for other, content in others.items():
            (file.parent / other.replace("_", ".")).write_text(content)
        file.rename(file.parent / name)
        read(file.parent)

    return reads


READERS = {
    "trace csv": (read_trace, "t_s,input_tokens,output_tokens\n1,2,3\n2,3,4\n"),
    "trace json": (
        read_trace,
        jsonl(*[{"timestamp": 1, "input_length": 2, "output_length": 3}] * 2),
    ),
    "conversations": (read_sharegpt, json.dumps([{"id": "a_1", "conversations": TURNS}] * 2)),
    "chats": (read_sharegpt, jsonl(*[{"id": 1, "messages": TURNS}] * 2)),
    "prompts": (read_prompts, jsonl({"prompt": "a", "id": 1}, {"custom_id": "b", "body": CHAT})),
    "lengths": (
        in_folder("lengths.csv", read_lengths, prompts_jsonl=PROMPT),
        "prompt_id,model,output_sizes,temp,max_tokens\na,m,5 6,0.5,100\na,n,7,,\n",
    ),
    "prompts of lengths": (
        in_folder("prompts.jsonl", read_lengths, lengths_csv="prompt_id,model,output_sizes\na,m,5"),
        PROMPT,
    ),
    "recorded": (in_folder("requests.jsonl", read_recorded), jsonl(RECORDED)),
    "steps": (lambda file: list(steplog.read(file)), jsonl([1.0] * 17)),
}

INSTEAD = [
    *(b"null", b"{}", b"[]", b'"', b"\\", b"\n", b"NaN", b"1e999", b"-1", b"\xff\xfe", b"\x00"),
    *(b"9" * 5000, b"[" * 9000, b"\\ud800", b"\x1f\x8b\x08"),
]
EDIT = st.tuples(
    st.integers(0, 300), st.integers(0, 20), st.binary(max_size=4) | st.sampled_from(INSTEAD)
)
EDITS = st.lists(EDIT, max_size=4)


@pytest.mark.parametrize("kind", READERS)
@given(edits=EDITS)
def test_damaged_files(tmp_path_factory, kind, edits):
    read, text = READERS[kind]
    content = text.encode()
    for start, length, instead in edits:
        content = content[:start] + instead + content[start + length :]
    file = tmp_path_factory.mktemp("odd") / "file"
    file.write_bytes(content)
    try:
        read(file)
    except SlotwiseError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("kind", READERS)
@given(content=st.binary(max_size=200))
def test_files_of_anything(tmp_path_factory, kind, content):
    file = tmp_path_factory.mktemp("any") / "file"
    file.write_bytes(content)
    try:
        READERS[kind][0](file)
    except SlotwiseError as error:
        assert str(file.parent) in str(error)  # noqa: PT017 - either outcome is right
