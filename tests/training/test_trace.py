import gzip

import pytest

from predictor.errors import DatasetError
from training.trace import TraceRow, read_trace

TEXT = "t_s,input_tokens,output_tokens\n4.5,20,4\n5.5,10,3\n9,30,5\n"


def test_rows_from_zero(tmp_path):
    plain, packed = tmp_path / "t.csv", tmp_path / "t.csv.gz"
    plain.write_text(TEXT)
    packed.write_bytes(gzip.compress(TEXT.encode()))
    expected = [TraceRow(0.0, 20, 4), TraceRow(1.0, 10, 3), TraceRow(4.5, 30, 5)]
    assert read_trace(plain) == read_trace(packed) == expected
    assert len(read_trace(plain, limit=2)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"t_s,input_tokens\n1,2\n",
        TEXT[:31].encode(),
        TEXT.encode() + b"x,1,1\n",
        TEXT.encode() + b"9,1.5,1\n",
        TEXT.encode() + b"9,0,1\n",
        TEXT.encode() + b"nan,1,1\n",
        TEXT.encode() + b"9\n",
        b"\xff\xfe\x00",
    ],
)
def test_bad_content_is_named(tmp_path, content):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"t\.csv"):
        read_trace(file)


def test_the_line_is_named(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT + "oops,1,1\n")
    with pytest.raises(DatasetError, match="line 5"):
        read_trace(tmp_path / "t.csv")


def test_times_that_fall_are_named(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT + "9,1,1\n8.25,1,1\n")
    with pytest.raises(DatasetError, match=r"t\.csv.*t_s falls from 9\.0 to 8\.25; sort"):
        read_trace(tmp_path / "t.csv")


def test_equal_times_are_no_fall(tmp_path):
    (tmp_path / "t.csv").write_text(TEXT + "9,1,1\n")
    assert [row.t_s for row in read_trace(tmp_path / "t.csv")] == [0.0, 1.0, 4.5, 4.5]


def test_missing_and_damaged_gzip(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    (tmp_path / "u.csv.gz").write_bytes(b"plain")
    for name in ("none.csv", "t.csv.gz", "u.csv.gz"):
        with pytest.raises(DatasetError, match=r"columns t_s,input_tokens"):
            read_trace(tmp_path / name)
