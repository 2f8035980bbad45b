"""Experiments as their files say them: cells that decide in the small house, and cells that are its trial's arms."""

from __future__ import annotations

FEWER = """
name = "fewer"
salt = "one"
start = 2026-01-05T00:00:00Z
end = 2026-03-30T00:00:00Z
control = "today"
holdout = 0.1
first_look = 50
[[cell]]
name = "today"
policy = "heuristic"
share = 0.5
[[cell]]
name = "few"
policy = "greedy"
share = 0.5
[[metric]]
name = "plays"
role = "primary"
events = { played = 1.0 }
"""

TRIAL = """
name = "trial"
salt = "none"
start = 2026-01-05T00:00:00Z
end = 2026-03-30T00:00:00Z
control = "none"
first_look = 50
[[cell]]
name = "none"
policy = "nothing"
share = 0.3333333333333333
[[cell]]
name = "mens"
policy = "mens"
share = 0.3333333333333333
[[cell]]
name = "womens"
policy = "womens"
share = 0.3333333333333334
[[metric]]
name = "visit"
role = "primary"
covariate = "recency"
"""
