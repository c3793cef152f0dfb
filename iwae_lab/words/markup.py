r"""The Markdown and LaTeX of this program's words as HTML and MathML, which browsers show without any library.

Why no library writes it: latex2mathml 3.81 sets no space after `\log` and none around `\sim` and `:`, fails on broken
LaTeX, and lets `\text{<script>}` through as HTML. markdown-it-py would need a plugin for `$...$`: three packages to
replace the few lines of `inline`.
"""

import re
from collections import deque
from html import escape

from markupsafe import Markup

GREEK = "alpha beta gamma delta epsilon lambda mu pi sigma theta tau phi psi omega Delta Gamma Phi Theta Sigma Omega"
LETTERS = {rf"\{name}": f"&{name};" for name in GREEK.split()} | {r"\infty": "∞", r"\ell": "ℓ", r"\nabla": "∇"}
FUNCTIONS = {rf"\{name}": name for name in ("log", "exp", "ln", "max", "min", "lim")}
NAMES = r"- ' \{ \} \le \leq \ge \geq \ne \neq \approx \sim \mid \| \cdot \times \to \in \pm \dots \sum \prod \int"
GLYPHS = "− ′ { } ≤ ≤ ≥ ≥ ≠ ≠ ≈ ∼ ∣ ‖ ⋅ × → ∈ ± … ∑ ∏ ∫"
APPLY = '<mo rspace="0.17em">&ApplyFunction;</mo>'
OPERATORS = dict(zip(NAMES.split(), GLYPHS.split(), strict=True))
LIMITS = (r"\sum", r"\prod", r"\max", r"\min", r"\lim")  # scripts go below and above where there is room
SPACES = {r"\,": 1 / 6, r"\:": 2 / 9, r"\;": 5 / 18, r"\ ": 1 / 4, r"\!": -1 / 6, r"\quad": 1, r"\qquad": 2}
ACCENTS = {r"\hat": "^", r"\tilde": "~", r"\bar": "¯", r"\overline": "¯"}
BRACES = {r"\underbrace": ("munder", "⏟"), r"\overbrace": ("mover", "⏞")}
SIZES = (r"\left", r"\right", r"\big", r"\Big", r"\bigl", r"\bigr", r"\Bigl", r"\Bigr")
ALPHABETS = {"mathbb": "opf", "mathcal": "scr"}  # as HTML names their letters
TOKEN = re.compile(
    r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\math(?:bb|cal)\{[A-Z]*\}|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S"
)
Tokens = deque[str]


def inline(text: str) -> Markup:
    """One line of Markdown: **strong**, `code`, $LaTeX$; everything else is plain text."""
    parts = re.split(r"\$(.+?)\$", text)
    html = "".join(math(part) if odd % 2 else escape(part) for odd, part in enumerate(parts))
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html))


def math(latex: str, display: bool = False) -> Markup:
    """LaTeX as MathML, on a line of its own if `display`; a command that is not known here appears by its name."""
    tokens = deque(TOKEN.findall(latex))
    parts = []
    while tokens:
        parts.append(_row(tokens))  # more than one only if braces do not match
    return Markup(f"<math{' display=block' if display else ''}>{''.join(parts)}</math>")


def _row(tokens: Tokens) -> str:
    """Everything up to the end or the closing brace, which is taken away."""
    parts: list[str] = []
    while tokens and (token := tokens.popleft()) != "}":
        if token in (r"\textstyle", r"\displaystyle"):
            large = str(token == r"\displaystyle").lower()
            return f'<mrow>{"".join(parts)}<mstyle displaystyle="{large}">{_row(tokens)}</mstyle></mrow>'
        parts.append(_scripts(token, _atom(token, tokens), tokens))
    return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"


def _scripts(token: str, base: str, tokens: Tokens) -> str:
    """The atom with what is written below and above it."""
    found = {}
    while tokens and tokens[0] in ("_", "^"):
        script = tokens.popleft()
        found[script] = _argument(tokens)
    below, above = ("under", "over") if token in LIMITS or token in BRACES else ("sub", "sup")
    tag = "m" + below * ("_" in found) + above * ("^" in found)
    scripted = base + found.get("_", "") + found.get("^", "")
    result = f"<{tag}>{scripted}</{tag}>" if found else base
    return result + APPLY if token in FUNCTIONS else result


def _argument(tokens: Tokens) -> str:
    r"""What a command or script applies to: a group, or else one token, of a number its first digit as in `\frac12`."""
    if not tokens:
        return "<mrow></mrow>"
    token = tokens.popleft()
    if token[:1].isdigit() and len(token) > 1:
        tokens.appendleft(token[1:])
        token = token[0]
    return _atom(token, tokens)


def _atom(token: str, tokens: Tokens) -> str:
    if token == "{":
        return _row(tokens)
    if token in (r"\frac", r"\tfrac", r"\dfrac"):
        fraction = f"<mfrac>{_argument(tokens)}{_argument(tokens)}</mfrac>"
        return f'<mstyle displaystyle="false">{fraction}</mstyle>' if token == r"\tfrac" else fraction
    if token == r"\sqrt":
        return f"<msqrt>{_argument(tokens)}</msqrt>"
    if token in ACCENTS:
        return f'<mover accent="true">{_argument(tokens)}<mo stretchy="false">{ACCENTS[token]}</mo></mover>'
    if token in BRACES:
        tag, brace = BRACES[token]
        return f"<{tag}>{_argument(tokens)}<mo>{brace}</mo></{tag}>"
    if token in SIZES and tokens:
        return f"<mo>{_glyph(tokens.popleft())}</mo>"  # operators stretch unless told otherwise
    return _symbol(token)


def _symbol(token: str) -> str:
    if token in SPACES:
        return f'<mspace width="{SPACES[token]:.3g}em"></mspace>'
    if token in LETTERS or token in FUNCTIONS:
        return f"<mi>{LETTERS.get(token) or FUNCTIONS[token]}</mi>"
    if token.endswith("}") and len(token) > 1 and token not in OPERATORS:
        return _word(*token[1:-1].split("{", 1))
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token.isalpha():
        return f"<mi>{token}</mi>"
    if token[0] == "\\" and token not in OPERATORS:
        return f"<mtext>{escape(token)}</mtext>"
    fixed = ' stretchy="false"' if token in "()[]|/" or token in (r"\mid", r"\|", r"\{", r"\}") else ""
    return f"<mo{fixed}>{_glyph(token)}</mo>"


def _glyph(token: str) -> str:
    return escape(OPERATORS.get(token, token))


def _word(font: str, text: str) -> str:
    if font == "text":
        return f"<mtext>{escape(text).replace(' ', '&nbsp;')}</mtext>"  # MathML drops spaces at the ends
    if font == "mathrm":
        return f'<mi mathvariant="normal">{escape(text)}</mi>'
    if font == "operatorname":
        return f'<mi mathvariant="normal">{escape(text)}</mi>{APPLY}'
    return "".join(f"<mi>&{letter}{ALPHABETS[font]};</mi>" for letter in text)
