"""Content that begins at a page of memory goes past the system's cache, where the system can."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from decider.logbook import durable
from decider.logbook.durable import page_buffer, write_sealed

SIZES = [0, 1, 4096, 4097, 3 * 4096 + 17, 1 << 20]


def content(n_bytes: int) -> memoryview:
    buffer = memoryview(page_buffer(max(n_bytes, 1)))
    buffer[:n_bytes] = os.urandom(n_bytes)
    return buffer[:n_bytes]


@pytest.mark.parametrize("n_bytes", SIZES)
def test_every_byte_is_there(tmp_path: Path, n_bytes: int) -> None:
    pages = content(n_bytes)
    write_sealed(tmp_path / "pages", pages)
    assert (tmp_path / "pages").read_bytes() == bytes(pages)
    # From the middle of a page it goes the other way.
    write_sealed(tmp_path / "odd", pages[1:])
    assert (tmp_path / "odd").read_bytes() == bytes(pages[1:])
    write_sealed(tmp_path / "bytes", bytes(pages))
    assert (tmp_path / "bytes").read_bytes() == bytes(pages)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "odd", "pages"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="the system has no such way")
def test_a_file_system_that_refuses_is_written_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = os.write, []

    def refuse_once(handle: int, data: memoryview) -> int:
        if not refused:
            refused.append(len(data))
            raise OSError(errno.EINVAL, "not on this file system")
        return write(handle, data)

    monkeypatch.setattr(durable.os, "write", refuse_once)
    pages = content(5 * 4096 + 3)
    write_sealed(tmp_path / "file", pages)
    assert refused == [5 * 4096]
    assert (tmp_path / "file").read_bytes() == bytes(pages)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(durable.os, "write", full)
    with pytest.raises(OSError, match="no space left"):
        write_sealed(tmp_path / "file", content(1 << 16))
    assert list(tmp_path.iterdir()) == []


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(durable.os, "write", lambda handle, data: write(handle, data[:4096]))
    pages = content(9 * 4096 + 100)
    write_sealed(tmp_path / "file", pages)
    assert (tmp_path / "file").read_bytes() == bytes(pages)
