"""Files are replaced whole: after any failure the old one stands and nothing else is left."""

import errno

import pytest

from fracsde import _files
from fracsde._files import refuse_place, replace_file
from fracsde.errors import FileWriteError


def test_replaces_the_whole_content(tmp_path):
    target = tmp_path / "result.bin"
    replace_file(target, b"old and long")
    replace_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), RuntimeError("no")],
)
def test_keeps_the_old_file_when_writing_fails(tmp_path, monkeypatch, error):
    target = tmp_path / "result.bin"
    target.write_bytes(b"old")

    def fail(path, content):
        path.write_bytes(content[:1])
        raise error

    monkeypatch.setattr(_files, "write_new", fail)
    expected = FileWriteError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.twin
def test_writing_in_place_would_lose_the_old_file(tmp_path):
    target = tmp_path / "result.bin"
    target.write_bytes(b"old")
    with target.open("wb") as file:  # and here the disk is full
        file.write(b"n")
    assert target.read_bytes() != b"old"


def test_refuses_places_before_the_work(tmp_path):
    with pytest.raises(FileWriteError, match="name a file"):
        refuse_place(tmp_path)
    with pytest.raises(FileWriteError, match="No such file"):
        refuse_place(tmp_path / "missing" / "result.bin")
    assert refuse_place(tmp_path / "result.bin") == (tmp_path / "result.bin").resolve()
    assert list(tmp_path.iterdir()) == []
