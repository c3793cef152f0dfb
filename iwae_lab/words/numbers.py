"""Numbers as people read them, with a true minus sign, and tables of them."""

from collections.abc import Iterable, Sequence

from iwae_core.evaluation.estimate import Estimate
from iwae_lab.words.markup import spoken


def true_minus(text: str) -> str:
    """A text in which every hyphen is a minus sign."""
    return text.replace("-", "\u2212")


def minus(value: float, digits: int = 3, sign: str = "") -> str:
    """A number with so many decimals; with the sign "+" if it is positive."""
    return true_minus(f"{value:{sign}.{digits}f}")


def plus_minus(value: Estimate, sign: bool = False) -> str:
    """Mean and two standard errors; a positive mean with its sign, if asked for."""
    return f"{minus(float(value.mean), 2, '+' if sign else '')} ± {2 * float(value.stderr):.2f}"


def duration(seconds: float, digits: int = 0) -> str:
    """Seconds with so many decimals up to a minute and a half, minutes up to an hour and a half, else hours."""
    if seconds < 90:
        return f"{seconds:.{digits}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table in Markdown, so many columns aligned left and the others right.

    A heading that is a formula and nothing else becomes text: there are screen readers that find no heading in it.
    """
    head = [spoken(name) if name.startswith("$") else name for name in head]
    marks = "|".join([":--"] * left + ["--:"] * (len(head) - left))
    first, *others = ("| " + " | ".join(cells) + " |" for cells in (head, *rows))
    return "\n".join([first, f"|{marks}|", *others])
