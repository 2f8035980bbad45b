import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_models import small_model

from decider.clock import ManualClock
from decider.errors import CorruptArtifact, InvalidInput, NotFound, NotReady
from decider.models import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "models", ManualClock(1_000))


def test_the_latest_publication_serves_and_rolling_back_returns_to_the_one_before(registry):
    first, second, third = (registry.publish(small_model(seed), who="ana") for seed in range(3))
    assert registry.current("uplift") == third
    assert registry.versions("uplift") == [first, second, third]
    assert registry.load("uplift").version == third
    assert registry.load("uplift", first).version == first
    assert registry.roll_back("uplift", who="ben") == second
    assert registry.roll_back("uplift") == first
    with pytest.raises(NotReady, match="model 'uplift' has no earlier version"):
        registry.roll_back("uplift")
    assert registry.current("uplift") == first
    entries = [(e.sequence, e.action, e.version, e.time_micros, e.who) for e in registry.history("uplift")]
    assert entries == [
        (1, "publish", first, 1_000, "ana"),
        (2, "publish", second, 1_000, "ana"),
        (3, "publish", third, 1_000, "ana"),
        (4, "roll_back", second, 1_000, "ben"),
        (5, "roll_back", first, 1_000, ""),
    ]


def test_after_a_roll_back_a_new_publication_builds_on_what_serves(registry):
    first, _ = (registry.publish(small_model(seed)) for seed in range(2))
    registry.roll_back("uplift")
    third = registry.publish(small_model(2))
    assert registry.current("uplift") == third
    assert registry.roll_back("uplift") == first


def test_publishing_what_serves_changes_nothing_and_an_old_version_can_return(registry):
    first, second = (registry.publish(small_model(seed)) for seed in range(2))
    assert registry.publish(small_model(1)) == second
    assert len(registry.history("uplift")) == 2
    assert registry.publish(small_model(0)) == first
    assert registry.current("uplift") == first
    assert registry.versions("uplift") == [first, second]
    assert registry.roll_back("uplift") == second


def test_names_are_apart(registry):
    registry.publish(small_model())
    other = registry.publish(small_model(name="correlational", outcome="level"))
    assert registry.names() == ["correlational", "uplift"]
    assert registry.versions("correlational") == [other]
    assert Registry(registry._root).load("correlational").outcome == "level"


def test_what_is_not_there_is_not_found(registry):
    for call in (registry.current, registry.load, registry.versions, registry.history, registry.roll_back):
        with pytest.raises(NotFound, match="model names no known model, got 'uplift'"):
            call("uplift")
    registry.publish(small_model())
    with pytest.raises(NotFound, match="version names no known model version"):
        registry.load("uplift", "sha256:0123456789abcdef")
    assert registry.names() == ["uplift"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp/x", "-a", "a" * 101, "ü"])
def test_a_name_that_is_no_plain_file_name_is_refused(registry, name):
    with pytest.raises(InvalidInput, match="model must be 1 to 100 of the letters"):
        registry.load(name)


@pytest.mark.parametrize("version", ["", "latest", "sha256:../../../..", "sha256:0123456789ABCDEF"])
def test_a_version_that_is_none_is_refused(registry, version):
    registry.publish(small_model())
    with pytest.raises(InvalidInput, match="version must be 'sha256:' and 16 hex digits"):
        registry.load("uplift", version)


def folder_of(registry, version):
    return registry._root / "uplift" / version.replace(":", "-")


def test_a_corrupt_earlier_version_is_not_rolled_back_to(registry):
    first, second = (registry.publish(small_model(seed)) for seed in range(2))
    (folder_of(registry, first) / "mean.npy").write_bytes(b"")
    with pytest.raises(CorruptArtifact, match=r"mean\.npy"):
        registry.roll_back("uplift")
    assert registry.current("uplift") == second
    assert registry.load("uplift").version == second


def test_a_version_in_anothers_place_is_refused(registry):
    first, second = (registry.publish(small_model(seed)) for seed in range(2))
    folder_of(registry, first).rename(folder_of(registry, first).with_name("aside"))
    folder_of(registry, second).rename(folder_of(registry, first))
    with pytest.raises(CorruptArtifact, match="it holds model 'uplift' version"):
        registry.load("uplift", first)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"sequence":1,"version":"../x","earlier":[]}'])
def test_a_corrupt_pointer_is_refused(registry, text):
    registry.publish(small_model())
    (registry._root / "uplift" / "current.json").write_text(text)
    with pytest.raises(CorruptArtifact, match=r"current\.json"):
        registry.load("uplift")


def test_a_crash_between_history_and_pointer_leaves_no_trace(registry):
    first = registry.publish(small_model(0))
    pointer = registry._root / "uplift" / "current.json"
    before = pointer.read_bytes()
    registry.publish(small_model(1))
    pointer.write_bytes(before)
    assert registry.current("uplift") == first
    assert [entry.version for entry in registry.history("uplift")] == [first]
    second = registry.publish(small_model(2))
    assert [(e.sequence, e.version) for e in registry.history("uplift")] == [(1, first), (2, second)]


def test_history_is_one_json_object_a_line(registry):
    registry.publish(small_model(), who="ana")
    line, *more = (registry._root / "uplift" / "history.jsonl").read_text().splitlines()
    assert json.loads(line)["who"] == "ana"
    assert more == []


def check_consistent(registry, versions):
    history = registry.history("uplift")
    assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
    assert set(registry.versions("uplift")) == set(versions)
    assert registry.current("uplift") == history[-1].version
    for version in versions:
        assert registry.load("uplift", version).version == version


def test_threads_publish_at_once(registry):
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda i: registry.publish(small_model(i % 6)), range(24)))
    check_consistent(registry, versions)


def publish_some(root, first):
    for seed in range(first, first + 4):
        Registry(root).publish(small_model(seed))


def test_processes_publish_at_once(registry):
    context = multiprocessing.get_context("spawn")
    starts = (0, 2, 4)
    processes = [context.Process(target=publish_some, args=(registry._root, start)) for start in starts]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    check_consistent(registry, [small_model(seed).version for seed in range(8)])
