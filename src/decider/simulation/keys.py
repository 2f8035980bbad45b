"""The streams of the world's random numbers: each number is a function of (seed, stream, epoch, member).

They lie beyond the streams of :mod:`decider_core.random`, so a policy with the world's seed shares none of them.
"""

from __future__ import annotations

from typing import Final

FEATURE: Final = 101
RHYTHM: Final = 102
CONSENT: Final = 103
WEIGHT: Final = 104
DRIFT: Final = 105
TITLE: Final = 106
OUTCOME: Final = 107
DELAY: Final = 108
OPT_OUT: Final = 109
COMPLAINT: Final = 110
PAST: Final = 111
PAST_PICK: Final = 112
VALUE: Final = 113
