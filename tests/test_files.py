"""Files are replaced whole: after any failure the old one stands and nothing else is left."""

import errno
import os

import pytest

from fracsde import _files
from fracsde._files import refuse_place, replace_file
from fracsde.errors import CheckpointError, FileWriteError, InputError
from fracsde.schemes.checkpoint import Checkpoint


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_replaces_no_device(tmp_path):
    """As root, a file put in the place of /dev/null would be the end of it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileWriteError, match="no ordinary file; name a file"):
        refuse_place(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no ordinary one; name another"):
        Checkpoint.at(tmp_path / "pipe", 1.0)


@pytest.mark.parametrize("name", ["~nobody-of-this-name/result.bin", "zero\0byte"])
def test_refuses_names_of_no_file(name):
    with pytest.raises(FileWriteError, match="choose another place"):
        refuse_place(name)
    with pytest.raises(InputError, match="`checkpoint`"):
        Checkpoint.at(name, 1.0)


def test_refuses_places_before_the_work(tmp_path):
    with pytest.raises(FileWriteError, match="name a file"):
        refuse_place(tmp_path)
    with pytest.raises(FileWriteError, match="No such file"):
        refuse_place(tmp_path / "missing" / "result.bin")
    assert refuse_place(tmp_path / "result.bin") == (tmp_path / "result.bin").resolve()
    assert list(tmp_path.iterdir()) == []
