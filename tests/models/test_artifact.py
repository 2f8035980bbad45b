import json

import numpy as np
import pytest
from small_models import small_model

from decider.errors import Conflict, CorruptArtifact, NotFound
from decider.models import load_model, manifest, save_model

FILES = ("manifest.json", "mean.npy", "covariance.npy", "fatigue.npy", "map_mean.npy", "map_scale.npy")


@pytest.fixture
def saved(tmp_path):
    save_model(small_model(), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("diagonal", [False, True])
def test_what_was_saved_comes_back_to_the_bit(tmp_path, diagonal):
    model = small_model(diagonal=diagonal, fatigue=np.array([0.1, 0.2, -0.3]), same_topic_penalty=0.1)
    version = save_model(model, tmp_path / "deep" / "model")
    again = load_model(tmp_path / "deep" / "model")
    assert again.version == version == model.version
    assert again.facts() == model.facts()
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["model"]


def test_the_directory_holds_the_named_files_and_no_pickle(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    for path in saved.glob("*.npy"):
        np.load(path, allow_pickle=False)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_refused_by_the_files_name(saved, name):
    path = saved / name
    whole = path.read_bytes()
    g = np.random.default_rng(5)
    for place in {0, len(whole) - 1, *g.integers(0, len(whole), 40).tolist()}:
        for bit in (0, 7, int(g.integers(1, 7))):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.")):
                load_model(saved)
    path.write_bytes(whole)
    load_model(saved)


@pytest.mark.parametrize("added", [b" ", b"\n"])
def test_a_manifest_in_another_form_is_refused_though_it_says_the_same(saved, added):
    path = saved / "manifest.json"
    path.write_bytes(path.read_bytes() + added)
    with pytest.raises(CorruptArtifact, match=r"manifest\.json is refused: it does not have the digest"):
        load_model(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(saved, name, kept):
    path = saved / name
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.")):
        load_model(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(saved, name):
    (saved / name).unlink()
    with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.") + " is refused: it cannot be read"):
        load_model(saved)


def forge(directory, facts=None, arrays=None, **content_changes):
    """Write an artifact whose digests are right but whose content breaks a rule."""
    model = small_model()
    files = manifest.encode(model.facts() | (facts or {}), model.arrays() | (arrays or {})).files
    content = json.loads(files["manifest.json"])["content"] | content_changes
    sealed = {"content": content, "sha256": manifest.digest(manifest.canonical(content))}
    files["manifest.json"] = manifest.canonical(sealed)
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


INDEFINITE = np.stack([np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])] * 3)


@pytest.mark.parametrize(
    ("forgery", "text"),
    [
        ({"schema_version": 2}, r"manifest\.json is refused: its schema must be .* 'schema_version': 2"),
        ({"format": "other"}, r"manifest\.json is refused: its schema must be .* got .*'other'"),
        (
            {"arrays": {"mean": np.full((3, 3), np.nan)}},
            r"mean\.npy is refused: mean must be finite, got nan",
        ),
        ({"arrays": {"mean": np.zeros((3, 4))}}, r"mean\.npy is refused: mean must be float64 of shape"),
        ({"arrays": {"covariance": INDEFINITE}}, r"covariance\.npy is refused: .* positive semidefinite"),
        ({"arrays": {"map_scale": np.array([1.0, -1.0])}}, r"map_scale\.npy is refused: .* must be >= 0"),
        ({"facts": {"outcome": "clicks"}}, r"manifest\.json is refused: outcome must be"),
        (
            {"facts": {"feature_map": {"kind": "tree"}}},
            r"manifest\.json is refused: feature_map\.kind must be",
        ),
        ({"facts": {"feature_map": {}}}, r"manifest\.json is refused: a fact is missing or wrong"),
        ({"files": {}}, r"manifest\.json is refused: a fact is missing or wrong"),
    ],
)
def test_content_against_the_rules_is_refused_whatever_its_digest(tmp_path, forgery, text):
    with pytest.raises(CorruptArtifact, match=text):
        load_model(forge(tmp_path / "model", **forgery))


def test_a_pickled_array_is_never_opened(tmp_path):
    directory = forge(tmp_path / "model")
    np.save(directory / "mean.npy", np.array([print], dtype=object), allow_pickle=True)
    data = (directory / "mean.npy").read_bytes()
    content = json.loads((directory / "manifest.json").read_bytes())["content"]
    content["files"]["mean.npy"] = {"bytes": len(data), "sha256": manifest.digest(data)}
    sealed = {"content": content, "sha256": manifest.digest(manifest.canonical(content))}
    (directory / "manifest.json").write_bytes(manifest.canonical(sealed))
    with pytest.raises(CorruptArtifact, match=r"mean\.npy is refused: it is no array file"):
        load_model(directory)


def test_a_manifest_that_names_a_file_elsewhere_is_refused(tmp_path):
    directory = forge(tmp_path / "model")
    content = json.loads((directory / "manifest.json").read_bytes())["content"]
    content["files"]["../mean.npy"] = content["files"].pop("mean.npy")
    sealed = {"content": content, "sha256": manifest.digest(manifest.canonical(content))}
    (directory / "manifest.json").write_bytes(manifest.canonical(sealed))
    with pytest.raises(CorruptArtifact, match=r"manifest\.json is refused: it names a file elsewhere"):
        load_model(directory)


def test_no_directory_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="directory names no known model"):
        load_model(tmp_path / "nothing")


def test_saving_again_changes_nothing_and_another_model_conflicts(saved):
    before = {path: path.stat().st_mtime_ns for path in saved.iterdir()}
    assert save_model(small_model(), saved) == small_model().version
    assert {path: path.stat().st_mtime_ns for path in saved.iterdir()} == before
    with pytest.raises(Conflict, match="exists and holds another model"):
        save_model(small_model(seed=1), saved)
    (saved / "mean.npy").write_bytes(b"")
    with pytest.raises(Conflict, match="exists and is no whole model"):
        save_model(small_model(), saved)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("decider.models.artifact.write_durably", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(small_model(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
