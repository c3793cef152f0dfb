"""The Markdown and LaTeX of this program's words as HTML and MathML, which browsers show without any library.

Markdown is written here: markdown-it-py would need a plugin for `$...$`, three packages to replace a few lines.
"""

import re
from html import escape

from markupsafe import Markup
from math_core import LatexToMathML

SUBSCRIPTS = str.maketrans("0123456789k", "₀₁₂₃₄₅₆₇₈₉ₖ")
# Broken LaTeX and unknown commands are shown as they are written.
_LATEX = LatexToMathML(continue_on_error=True, fancy_error=False)


def inline(text: str) -> Markup:
    """One line of Markdown: **strong**, `code`, $LaTeX$; everything else is plain text."""
    parts = re.split(r"\$(.+?)\$", text)
    html = "".join(math(part) if odd % 2 else escape(part) for odd, part in enumerate(parts))
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html))


def spoken(text: str) -> str:
    """Markdown with the bounds L as plain text, for those who hear it and where no formula can be shown."""
    named = re.sub(r"L_(?:\{(\w+)\}|(\w))", lambda found: "L" + (found[1] or found[2]).translate(SUBSCRIPTS), text)
    return re.sub(r"[*$]", "", named)


def heading(text: str) -> Markup:
    """One line of Markdown above a column: its bounds as HTML, since not every screen reader reads formulas."""
    return Markup(re.sub(r"\$(\w)_(\w)\$", r"<i>\1</i><sub>\2</sub>", escape(text)))


def math(latex: str, display: bool = False) -> Markup:
    """LaTeX as MathML, on a line of its own if `display`."""
    return Markup(_LATEX.convert_with_local_state(latex, displaystyle=display))
