"""What a front process and the engine process say to each other over a Unix socket: calls, and their answers.

Frames are a length of four bytes and msgpack. Both sides are of one installation and started together, so that
there are no versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

_SIZE = 4


class Call(NamedTuple):
    """A call of Decide."""

    number: int
    """Chosen by the front."""
    request: bytes


class Answer(NamedTuple):
    """What came of a call."""

    number: int
    answer: bytes
    """Serialised; empty for an error."""
    status: bytes = b""
    """Serialised google.rpc.Status of an error."""


_ENCODER = msgspec.msgpack.Encoder()
_CALL = msgspec.msgpack.Decoder(Call)
_ANSWERS = msgspec.msgpack.Decoder(list[Answer])


def call_frame(number: int, request: bytes) -> bytes:
    """One call on its way to the engine."""
    return _frame(_ENCODER.encode((number, request)))


def answers_frame(answers: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """Answers of a group, with the fields of :class:`Answer`, on their way to a front."""
    return _frame(_ENCODER.encode(list(answers)))


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(_SIZE, "little") + body


class Frames:
    """Puts frames together from what a socket gives, in whatever pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def calls(self, data: bytes) -> list[Call]:
        """The calls that are complete now."""
        return [_CALL.decode(body) for body in self._bodies(data)]

    def answers(self, data: bytes) -> list[Answer]:
        """The answers that are complete now."""
        return [answer for body in self._bodies(data) for answer in _ANSWERS.decode(body)]

    def _bodies(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _SIZE:
            end = at + _SIZE + int.from_bytes(self._buffer[at : at + _SIZE], "little")
            if end > len(self._buffer):
                break
            yield bytes(self._buffer[at + _SIZE : end])
            at = end
        del self._buffer[:at]
