import gzip

import numpy as np
import pytest

from predictor.errors import DatasetError
from training.lengths import apart_from, from_sharegpt, joined, read_lengths
from training.sharegpt import Conversation, Turn


def write(folder, prompts, lengths):
    folder.mkdir(exist_ok=True)
    (folder / "prompts.jsonl").write_bytes(
        prompts.encode() if isinstance(prompts, str) else prompts
    )
    (folder / "lengths.csv").write_text(lengths)
    return folder


PROMPT = '{"prompt_id": "a", "prompt_text": "Hi", "split": "test"}\n'
HEADER = "prompt_id,model,output_sizes,max_tokens\n"


def test_reads_the_layout(lengths_folder):
    rows = read_lengths(lengths_folder)
    assert rows.llms == ("alpha", "beta", "gamma")
    assert len(rows) == 600
    assert rows.samples.shape == (600, 4)
    sides = {split: len(rows.of_split(split)) for split in ("train", "validation", "test")}
    assert sides["test"] == 120
    assert 20 < sides["validation"] < 120
    assert sum(sides.values()) == 600


def test_no_prompt_on_two_sides(lengths_folder):
    rows = read_lengths(lengths_folder)
    train, test = (set(rows.of_split(side).prompt_of) for side in ("train", "test"))
    assert not train & test


def test_cut_and_ragged_samples(tmp_path):
    rows = read_lengths(write(tmp_path, PROMPT, HEADER + "a,m,5 100 7,100\na,n,3,\n"))
    assert rows.samples.tolist() == [[5, 100, 7], [3, 0, 0]]
    assert rows.cut.tolist() == [[False, True, False], [False] * 3]
    assert rows.seen.sum() == 3
    assert rows.caps.tolist() == [100, 14_999]


@pytest.mark.parametrize(
    ("prompts", "lengths", "says"),
    [
        (PROMPT, "prompt_id,model,sizes\na,m,5\n", "1 x no output_sizes"),
        (PROMPT, HEADER + "b,m,5,\n", r"prompt_id has no prompt .*line 2: 'b'"),
        (PROMPT, HEADER + "a,m,five,\n", r"not a number \(line 2: 'five'"),
        (PROMPT, HEADER + "a,m,,\n", "no output_sizes"),
        (PROMPT, HEADER, "holds no row"),
        ('{"prompt_id": "a"}\n', HEADER, r"no prompt_text \(line 1\)"),
        (b'{"prompt_id": "a", "prompt_text": "\xff"}\n', HEADER, "not UTF-8"),
        ("nothing", HEADER, "holds no prompt"),
    ],
)
def test_a_file_of_which_nothing_is_left(tmp_path, prompts, lengths, says):
    with pytest.raises(DatasetError, match=says):
        read_lengths(write(tmp_path, prompts, lengths))


@pytest.mark.parametrize(
    "row",
    [
        *("b,m,5,", "a,m,five,", "a,m,,", "a,,5,", "a,m,5 -1,", "a,m,5 nan,", "a,m,5.5,"),
        *("a,m,5,x", "a,m,5,0", "a", '"a,m,5'),
    ],
)
def test_an_odd_row_is_left_out_and_counted(tmp_path, caplog, row):
    found = read_lengths(write(tmp_path, PROMPT, f"{HEADER}a,m,5 7,\n{row}\na,m,6,\n"))
    assert found.samples.tolist() == [[5, 7], [6, 0]]
    assert "2 of 3 rows are used; left out: 1 x" in caplog.text
    assert "line 3" in caplog.text


@pytest.mark.parametrize(
    "line",
    ["oops", '{"prompt_id": "b"}', "[1]", '{"prompt_id": null, "prompt_text": "Hi"}', PROMPT],
)
def test_an_odd_prompt_is_left_out_and_counted(tmp_path, caplog, line):
    other = PROMPT.replace('"a"', '"c"')
    found = read_lengths(write(tmp_path, f"{PROMPT}{line}\n{other}", HEADER + "a,m,5,\nc,m,6,\n"))
    assert found.samples.ravel().tolist() == [5, 6]
    assert "2 of 3 prompts are used; left out: 1 x" in caplog.text


def test_rows_as_others_write_them(tmp_path):
    header = "\ufeffid;llm;output_tokens;temperature\r\n"
    folder = write(tmp_path, PROMPT, header + "a;m;[5.0, 7];0.5\r\na;n;3;hot\r\n")
    rows = read_lengths(folder)
    assert rows.samples.tolist() == [[5, 7], [3, 0]]
    assert rows.temperatures[0] == 0.5
    assert np.isnan(rows.temperatures[1])


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(DatasetError, match=r"no prompts\.jsonl"):
        read_lengths(tmp_path)
    (tmp_path / "lengths.csv").write_text(HEADER)
    (tmp_path / "prompts.jsonl.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(DatasetError, match=r"prompts\.jsonl\.gz"):
        read_lengths(tmp_path)


def test_without_renumbers(lengths_folder):
    rows = read_lengths(lengths_folder)
    less = rows.without(["alpha"])
    assert less.llms == ("beta", "gamma")
    assert np.array_equal(less.of_llm("gamma").samples, rows.of_llm("gamma").samples)


def conversation(number, asked):
    return Conversation(f"c{number}", (Turn("human", asked), Turn("gpt", "one two three")))


def test_sharegpt_joins_and_keeps_test_texts_out(lengths_folder, counter):
    rows = read_lengths(lengths_folder)
    kept_back = next(p.text for p in rows.prompts if p.split == "test")
    extra = from_sharegpt([conversation(0, kept_back), conversation(1, "New")], counter)
    apart = apart_from(extra, rows)
    assert [extra.prompts[p].text for p in apart.prompt_of] == ["New"]
    both = joined(rows, apart)
    assert both.llms[-1] == "sharegpt"
    assert both.samples[-1].tolist() == [3, 0, 0, 0]
    assert both.prompts[both.prompt_of[-1]].text == "New"


def test_files_of_one_name_in_two_folders_both_count(lengths_folder, lengths_writer, tmp_path):
    first = read_lengths(lengths_folder)
    second = read_lengths(lengths_writer(tmp_path / "new", seed=7))
    sums = joined(first, second).sha256
    assert sorted(sums.values()) == sorted([*first.sha256.values(), *second.sha256.values()])
    assert joined(first, first).sha256 == first.sha256
