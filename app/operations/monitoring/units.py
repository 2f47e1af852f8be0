"""Lengths of time and shares as people read them, for tables and for the lines that say what is wrong."""

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def duration(seconds: float) -> str:
    """Its two largest units: ``6m 10s``, ``2d 4h``, and below ten seconds ``0.3s``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    left, parts = round(seconds), list[str]()
    for unit, size in _UNITS:
        amount, left = divmod(left, size)
        if amount or parts:
            parts.append(f"{amount}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0"))


def percent(part: float, whole: float) -> float | None:
    """How much of the whole a part is, in per cent with a decimal; None of nothing."""
    return round(100 * part / whole, 1) if whole else None


def shortened(text: str, length: int) -> str:
    """A text in one line of at most so many characters, all of them printable."""
    line = " ".join("".join(of if of.isprintable() else " " for of in text).split())
    return line if len(line) <= length else line[: length - 1] + "…"
