"""Markdown and LaTeX of the program's words as HTML and MathML."""

import re
import xml.etree.ElementTree as ElementTree
from html import unescape

import pytest

from iwae_core.estimators import ESTIMATORS
from iwae_lab.words import sentences as words
from iwae_lab.words.markup import inline
from iwae_lab.words.markup import math as mathml
from iwae_lab.words.templates import macros

TABLE = macros("iwae_lab/words/macros.html.jinja").table


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"&(?!amp;|lt;|gt;|quot;)\w+;", lambda entity: unescape(entity[0]), html))


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("L_k", "<msub><mi>L</mi><mi>k</mi></msub>"),
        (r"\frac12 x", "<mfrac><mn>1</mn><mn>2</mn></mfrac><mi>x</mi>"),
        (r"L_{5000}", "<msub><mi>L</mi><mn>5000</mn></msub>"),
        (r"\tilde w_i", '<msub><mover accent="true"><mi>w</mi><mo stretchy="false">˜</mo></mover><mi>i</mi></msub>'),
        (r"\text{ a<b }", "<mtext> a&lt;b </mtext>"),
        (r"\mathbb{E}", "<mi>𝔼</mi>"),
    ],
)
def test_latex_becomes_mathml(latex: str, expected: str) -> None:
    assert mathml(latex) == f"<math>{expected}</math>".replace(" a&lt;b ", "\u00a0a&lt;b\u00a0")


def test_all_mathematics_of_the_program_is_known() -> None:
    prose = [value for value in vars(words).values() if isinstance(value, str)]
    formulas = [formula for text in prose for formula in re.findall(r"\$(.+?)\$", text)]
    formulas += [words.EQUATIONS, *(entry.equation for entry in ESTIMATORS.values())]
    assert len(formulas) > len(ESTIMATORS) + 2
    for formula in formulas:
        element = parsed(mathml(formula, display=False))
        assert element.tag == "math", formula
        assert "\\" not in "".join(element.itertext()), formula
        shown, names = "".join(element.itertext()), set(re.findall(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z{])", formula))
        assert names <= set(shown), formula


@pytest.mark.parametrize("latex", ["}", "x_", "{", r"\frac", "a}b", r"\left", r"\text{x", r"\unheard", "<b>&"])
def test_broken_latex_is_shown_as_it_is_written(latex: str) -> None:
    assert "".join(parsed(mathml(latex)).itertext()) == latex


def test_markdown_becomes_html() -> None:
    assert inline("a < b **bold** `x` & c") == "a &lt; b <strong>bold</strong> <code>x</code> &amp; c"
    assert inline("**The $k$**") == "<strong>The <math><mi>k</mi></math></strong>"


def test_cells_are_text_unless_they_are_html() -> None:
    table = TABLE([inline("a"), inline("$b$")], [["1", "<2"]])
    assert table.count("</t") == 9
    assert '<th scope="col"><math><mi>b</mi></math></th>' in table
    assert '<th scope="row">1</th><td>&lt;2</td>' in table
