"""The form of an artifact: array files and a manifest that carries their digests and its own."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT: Final = "decider-uplift-model"
SCHEMA_VERSION: Final = 1
MANIFEST_NAME: Final = "manifest.json"


class Encoded(NamedTuple):
    """An artifact as bytes.

    Parameters
    ----------
    version
        ``sha256:`` and the first 16 hex digits of the digest of the manifest's content.
    files
        The bytes of every file by name, the manifest last.
    """

    version: str
    files: dict[str, bytes]


def encode(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Encoded:
    """Turn facts and arrays into the files of an artifact.

    The same facts and arrays give the same bytes, hence the same version, on every machine.

    Parameters
    ----------
    facts
        JSON values; floats are written so that they read back to the same bits.
    arrays
        Numeric arrays by name; the array ``mean`` becomes ``mean.npy``.
    """
    files = {f"{name}.npy": _npy_bytes(array) for name, array in sorted(arrays.items())}
    content = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "facts": facts,
        "files": {name: {"bytes": len(data), "sha256": digest(data)} for name, data in files.items()},
    }
    content_digest = digest(canonical(content))
    files[MANIFEST_NAME] = canonical({"content": content, "sha256": content_digest})
    return Encoded(version_of(content_digest), files)


def version_of(content_digest: str) -> str:
    """Shorten the digest of a manifest's content to a version."""
    return f"sha256:{content_digest[:16]}"


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON in its one canonical form: sorted keys, no spaces, UTF-8, one newline at the end."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _npy_bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    little_endian = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    np.lib.format.write_array(buffer, little_endian, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
