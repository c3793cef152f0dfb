"""Texts from outside, such as an address or an error that quotes one, in places that take Markdown."""

import re

# No character of these has a meaning then; nor is what looks like a link made one, for it is broken by a character
# that is not seen.
SPECIAL = re.compile(r"[!-/:-@\[-`{-~]")
LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.I)
UNSEEN = "\N{WORD JOINER}"


def plain(text: object) -> str:
    """Markdown that is shown as this text: no link, no picture, no formula, no other page's words as ours."""
    return SPECIAL.sub(r"\\\g<0>", LINK.sub(UNSEEN, str(text)))
