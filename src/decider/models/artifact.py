"""A model on disk: a directory of raw arrays under a manifest of digests, whole or refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decider.errors import Conflict, CorruptArtifact, InvalidInput, NotFound
from decider.models import manifest
from decider.models.restore import restore_map
from decider.models.uplift import UpliftModel


def save_model(model: UpliftModel, directory: Path | str) -> str:
    """Write a model as a new directory, all of it or nothing, durable on return.

    Parameters
    ----------
    model
        The model.
    directory
        Where to; its parent is made if needed. If it already holds this very version nothing is written.

    Returns
    -------
    str
        The version.

    Raises
    ------
    Conflict
        If the directory exists and holds anything else.
    """
    target = Path(directory)
    encoded = manifest.encode(model.facts(), model.arrays())
    if target.exists():
        return _same_or_conflict(target, encoded.version)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, data in encoded.files.items():
            write_durably(scratch / name, data)
        scratch.chmod(0o755)
        sync_directory(scratch)
        try:
            # The rename fails if another writer's directory is there first, for that is not empty.
            scratch.rename(target)
        except OSError:
            if not target.exists():
                raise
            return _same_or_conflict(target, encoded.version)
        sync_directory(target.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return encoded.version


def load_model(directory: Path | str) -> UpliftModel:
    """Read a model and check every byte of it.

    Raises
    ------
    NotFound
        If the directory does not exist.
    CorruptArtifact
        Naming the file that is missing, truncated, changed, of another schema, not finite or against a rule.
    """
    source = Path(directory)
    if not source.is_dir():
        raise NotFound("directory", "model", str(source))
    content = _read_manifest(source / manifest.MANIFEST_NAME)
    arrays = {
        Path(name).stem: _read_array(source / name, stated) for name, stated in content["files"].items()
    }
    try:
        return _restore(content["facts"], arrays)
    except InvalidInput as error:
        field = error.violations[0].field
        culprit = f"{field}.npy" if f"{field}.npy" in content["files"] else manifest.MANIFEST_NAME
        raise CorruptArtifact(source / culprit, str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(
            source / manifest.MANIFEST_NAME, f"a fact is missing or wrong: {error!r}"
        ) from error


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and force it to disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Force a directory's entries to disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same_or_conflict(target: Path, version: str) -> str:
    try:
        if load_model(target).version == version:
            return version
    except (CorruptArtifact, NotFound) as error:
        raise Conflict("directory", str(target), f"exists and is no whole model: {error}") from error
    raise Conflict("directory", str(target), "exists and holds another model")


def _restore(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> UpliftModel:
    return UpliftModel(
        name=facts["name"],
        feature_map=restore_map(facts["feature_map"], arrays),
        posterior_names=tuple(facts["posterior_names"]),
        mean=arrays["mean"],
        covariance=arrays["covariance"],
        reward=facts["reward"],
        outcome=facts["outcome"],
        fatigue=arrays["fatigue"],
        same_topic_penalty=facts["same_topic_penalty"],
        pair_features=tuple(facts["pair_features"]),
        widen=facts["widen"],
        trained=facts["trained"],
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    raw = _read_bytes(path)
    try:
        outer = json.loads(raw)
        content, stated = outer["content"], outer["sha256"]
        found = {"format": content["format"], "schema_version": content["schema_version"]}
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptArtifact(path, "it is not a manifest") from error
    wanted = {"format": manifest.FORMAT, "schema_version": manifest.SCHEMA_VERSION}
    if found != wanted:
        raise CorruptArtifact(path, f"its schema must be {wanted}, got {found}")
    # The file is the canonical form of its content, so no byte of it can change unnoticed.
    if manifest.digest(manifest.canonical(content)) != stated or manifest.canonical(outer) != raw:
        raise CorruptArtifact(path, "it does not have the digest that it states")
    elsewhere = [name for name in content["files"] if Path(name).name != name]
    if elsewhere:
        raise CorruptArtifact(path, f"it names a file elsewhere, {elsewhere[0]!r}")
    return dict(content)


def _read_array(path: Path, stated: Mapping[str, Any]) -> NDArray[Any]:
    raw = _read_bytes(path)
    if len(raw) != stated["bytes"]:
        raise CorruptArtifact(path, f"it must have {stated['bytes']} bytes, got {len(raw)}")
    found = manifest.digest(raw)
    if found != stated["sha256"]:
        raise CorruptArtifact(path, f"its sha256 must be {stated['sha256']}, got {found}")
    try:
        array: NDArray[Any] = np.load(io.BytesIO(raw), allow_pickle=False)
    except ValueError as error:
        raise CorruptArtifact(path, f"it is no array file: {error}") from error
    return array


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptArtifact(path, f"it cannot be read: {error.strerror}") from error
