import pytest

from predictor.errors import InputError
from training.textfile import content_of, read_lines, write_whole


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "new" / "f"
    write_whole(file, b"one")
    write_whole(file, b"two")
    assert content_of(file) == b"two"
    assert list(file.parent.iterdir()) == [file]


def test_nothing_is_left_where_a_file_cannot_be_replaced(tmp_path):
    taken = tmp_path / "f"
    taken.mkdir()
    with pytest.raises(InputError, match="give a place that can be written"):
        write_whole(taken, b"one")
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_whatever_ends_them(tmp_path, end):
    (tmp_path / "f").write_bytes(end.join((b"a", b"b", b"c")))
    assert [line.strip() for _, line in read_lines(tmp_path / "f")] == [b"a", b"b", b"c"]
