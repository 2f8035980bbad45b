"""The layers of the house: imports point down only, and only the service knows gRPC."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

# From top to bottom; rooms of one layer do not import each other.
LAYERS = (
    ("server", "cli"),
    ("bench", "loop"),
    ("service", "bulk", "reporting"),
    ("learning", "simulation"),
    ("evaluation", "experiments", "decision"),
    ("logbook", "models", "members", "catalog"),
)
BELOW_ALL = {"errors", "clock", "config", "priority"}
CORE_MAY_IMPORT = {"numpy", "numba", "llvmlite", "decider_core"}
# The bench measures the service from outside, against bare gRPC.
MAY_KNOW_GRPC = {"service", "v1", "bench"}
ONLY_IN_SERVICE = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google"}

DEPTH = {room: depth for depth, rooms in enumerate(LAYERS) for room in rooms}


def imports_of(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in names]
    return found


def room_of(path: Path) -> str:
    relative = path.relative_to(SRC / "decider")
    return relative.parts[0].removesuffix(".py")


def breaches(path: Path) -> list[str]:
    """Imports of a file of `decider` that point up, sideways, or to gRPC from outside the service."""
    room = room_of(path)
    found = []
    for line, name in imports_of(path):
        parts = name.split(".")
        place = f"{path.relative_to(ROOT)}:{line} imports {name}"
        if parts[0] in ONLY_IN_SERVICE and room not in MAY_KNOW_GRPC:
            found.append(place)
        if parts[0] != "decider" or len(parts) < 2 or parts[1] == room or parts[1] in BELOW_ALL:
            continue
        if parts[1] == "v1":
            if room not in MAY_KNOW_GRPC:
                found.append(place)
        elif room in BELOW_ALL or DEPTH.get(parts[1], -1) <= DEPTH.get(room, -1):
            found.append(place)
    return found


ALL_FILES = sorted(path for path in (SRC / "decider").rglob("*.py") if "v1" not in path.parts)
CORE_FILES = sorted((SRC / "decider_core").rglob("*.py"))


def test_every_room_has_its_layer() -> None:
    rooms = {room_of(path) for path in ALL_FILES} - BELOW_ALL - {"__init__"}
    assert rooms <= set(DEPTH), f"rooms without a layer: {rooms - set(DEPTH)}"


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_point_down(path: Path) -> None:
    assert breaches(path) == []


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_the_core_knows_arrays_only(path: Path) -> None:
    standard = sys.stdlib_module_names
    roots = {name.split(".")[0] for _, name in imports_of(path)}
    assert roots - standard <= CORE_MAY_IMPORT
    assert not roots & {"time", "datetime", "socket", "sqlite3"}, "the core has no clock and no network"


def test_a_breach_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.SRC", tmp_path)
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    file = tmp_path / "decider" / "catalog" / "rules.py"
    file.parent.mkdir(parents=True)
    file.write_text("import grpc\nfrom decider.service import server\nfrom decider.members import Snapshot\n")
    assert len(breaches(file)) == 3
    file.write_text(
        "from decider.errors import InvalidInput\nfrom decider_core import random\nimport polars\n"
    )
    assert breaches(file) == []
