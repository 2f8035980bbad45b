"""Areas under uplift curves from their definitions, one row at a time."""


def areas(effect):
    n = len(effect)
    mean = sum(effect) / n
    total = autoc = qini = auuc = 0.0
    for i, value in enumerate(effect, start=1):
        total += value
        autoc += (total / i - mean) / n
        auuc += total / n**2
        qini += (total - mean * i) / n**2
    return autoc, qini, auuc, mean


def drawn(effect, counts):
    """The rows of a resample: each as often as it was drawn."""
    return [value for value, count in zip(effect, counts, strict=True) for _ in range(int(count))]
