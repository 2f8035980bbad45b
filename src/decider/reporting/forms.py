"""How numbers are written."""

from __future__ import annotations

from decider.evaluation import Estimate, Interval

MINUS = "\u2212"


def number(value: float) -> str:
    """Up to four digits, thousands apart."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", MINUS)


def thousandth(value: float) -> str:
    """A reward per 1,000, with one digit after the point, more where there is little."""
    scaled = 1000.0 * value
    digits = 1 if abs(scaled) >= 10 or scaled == 0 else 2 if abs(scaled) >= 0.1 else 4
    return f"{scaled:,.{digits}f}".replace("-", MINUS)


def percent(value: float) -> str:
    """A share, rounded to a tenth of a percent."""
    return f"{100 * value:.1f} %"


def axis_percent(value: float) -> str:
    """A share at a tick."""
    return f"{number(100 * value)} %"


def axis_thousandth(value: float) -> str:
    """A reward per 1,000 at a tick."""
    return number(1000.0 * value)


def ends_of(estimate: Estimate) -> Interval | None:
    """The interval that is shown: of the bootstrap where there is one."""
    return estimate.bootstrap or estimate.normal


def with_interval(estimate: Estimate) -> str:
    """An estimate per 1,000 with its interval, or that there is none."""
    ends = ends_of(estimate)
    if estimate.value is None or ends is None:
        return "refused"
    return f"{thousandth(estimate.value)} [{thousandth(ends.low)}, {thousandth(ends.high)}]"


def bracketed(ends: Interval | tuple[float, float]) -> str:
    """An interval per 1,000."""
    return f"[{thousandth(ends[0])}, {thousandth(ends[1])}]"
