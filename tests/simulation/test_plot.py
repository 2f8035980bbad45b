from __future__ import annotations

from pathlib import Path

from decider.simulation.contenders import contenders_named
from decider.simulation.plot import FORMATS, draw, save
from decider.simulation.run import simulate
from tests.simulation.small_worlds import small_world


def test_a_simulation_is_drawn_without_a_network(tmp_path: Path) -> None:
    shown = simulate(small_world(300, 3), contenders_named(["send_all", "random"]), 0.5)
    paths = save(draw(shown.epochs, "a small world"), tmp_path)
    assert [path.suffix[1:] for path in paths] == list(FORMATS)
    svg, png, html = (path.read_bytes() for path in paths)
    assert b"a small world" in svg
    assert b"send_all" in svg
    assert png.startswith(b"\x89PNG")
    assert b"<script src=" not in html
