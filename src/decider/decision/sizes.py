"""How many members a run works on at once. No decision depends on these."""

from __future__ import annotations

CHUNK = 16_448
"""Members that one call of the kernels works on.

No power of two: candidates are rows, and rows that lie a power of two apart share a few places of the caches.
"""
SEGMENT = 131_072
"""Members that become durable, and are answered, together."""
AHEAD = 3
"""Segments that are being decided while one becomes durable and is answered."""
CHUNKS_AHEAD = 64
"""Chunks that are being decided while one is counted for the price."""
