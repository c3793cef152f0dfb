"""Pages made from the registries, the docstrings and README, and LaTeX as MathML; `mkdocs.yml` names this file."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from html import unescape
from inspect import getdoc
from itertools import chain, groupby
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import iwae_core
from iwae_core.bounds import BOUNDS
from iwae_core.data import BINARISATIONS, DATASETS
from iwae_core.estimators import ESTIMATORS, Estimator
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.models import MODELS
from iwae_core.registry import Registry
from iwae_core.training.schedules import SCHEDULES
from iwae_lab.figures import FIGURES
from iwae_lab.words.markup import math
from tools.house import FLOORS, PACKAGES, ROOT

UNDER_HEADING = "show_root_heading: false, show_root_toc_entry: false"
SHOWN = ("label", "equation")  # of a thing before its facts
# The page of each registry: its title, where it is at home, and the facts that its first table compares.
REGISTRIES: dict[str, tuple[Registry[Any], str, str, tuple[str, ...]]] = {
    "bounds": (BOUNDS, "Bounds", "iwae_core.bounds", ("label", "target", "lower")),
    "estimators": (ESTIMATORS, "Estimators", "iwae_core.estimators", ("label", "theta", "phi", "unbiased", "least_k")),
    "models": (MODELS, "Models", "iwae_core.models", ("label", "source")),
    "data": (DATASETS, "Data sets", "iwae_core.data", ("label", "source")),
    "binarisations": (BINARISATIONS, "Binarisations", "iwae_core.data.binarisation", ("label", "source")),
    "backward": (BACKWARDS, "Backward passes", "iwae_core.estimators.counting", ("label", "source")),
    "schedules": (SCHEDULES, "Schedules", "iwae_core.training.schedules", ("label", "source")),
    "figures": (FIGURES, "Figures", "iwae_lab.figures", ("caption",)),
}


def on_config(config: MkDocsConfig) -> None:
    """Put the reference into the menu: a page for each folder, and for each file beside the folders."""
    packages = [{package: [f"reference/{room}.md" for room in rooms(package)]} for package in PACKAGES]
    config.nav.append({"Reference": ["reference/face.md", *packages]})  # type: ignore[union-attr]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages to the written ones."""
    pages = {name: registry_page(*of) for name, of in REGISTRIES.items()} | {"reference/face": face()}
    for package in PACKAGES:
        pages |= {f"reference/{room}": room_page(room, found) for room, found in rooms(package).items()}
    for name, parts in pages.items():
        files.append(File.generated(config, f"{name}.md", content="\n\n".join(parts)))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the sections of README that a page names in a comment."""
    return re.sub(r"<!-- README: (.*) -->", lambda found: readme(found[1]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show LaTeX as MathML, which needs no script."""

    def shown(found: re.Match[str]) -> str:
        return f"{found[1]}{math(unescape(found[2]), display='div' in found[1])}"

    return re.sub(r'(<(?:span|div) class="arithmatex">)\\[(\[]\s*(.*?)\s*\\[)\]]', shown, html, flags=re.S)


def readme(heading: str) -> str:
    """The text below a heading of README, with its links as they are from here."""
    text = (ROOT / "README.md").read_text("utf-8").split(f"# {heading}\n", 1)[1]
    return re.split(r"^##", text, maxsplit=1, flags=re.M)[0].replace("](docs/", "](")


def registry_page(registry: Registry[Any], title: str, home: str, compared: tuple[str, ...]) -> Iterator[str]:
    """All there is in a registry: a table to compare, then the equation, facts and docstring of each, by module."""
    kind = type(next(iter(registry.values())))
    yield f"# {title}"
    yield doc(sys.modules[home]).split("\n\n")[0]
    yield f"Each is of the class [`{kind.__name__}`][{kind.__module__}.{kind.__name__}]:"
    yield doc(kind)
    rows = ([link(name), *(shown(getattr(entry, fact)) for fact in compared)] for name, entry in registry.items())
    yield table(["name", *compared], rows)
    for module, entries in groupby(registry.items(), lambda item: function_of(item[1]).__module__):
        if module != home:
            yield f"## {module.rpartition('.')[2].replace('_', ' ').capitalize()}"
            yield doc(sys.modules[module])
        for name, entry in entries:
            yield from entry_parts(name, entry)


def entry_parts(name: str, entry: Any) -> Iterator[str]:
    """One thing of a registry."""
    function = function_of(entry)
    identifier = f"{function.__module__}.{function.__name__}"
    yield f"### {entry.label} {{#{name}}}"
    if hasattr(entry, "equation"):
        yield f"$${entry.equation}$$"
    yield f"::: {identifier}\n    options: {{{UNDER_HEADING}}}"
    facts = {"function": f"[`{identifier}`][{identifier}]"}
    facts |= {fact.name: shown(getattr(entry, fact.name)) for fact in fields(entry)[1:] if fact.name not in SHOWN}
    if isinstance(entry, Estimator):
        facts["path"] = f"[`{entry.path}`](reference/iwae_core.draws.md)"
        facts["instead"] = entry.instead and link(entry.instead)
        facts["settings"] = ", ".join(f"{setting} = {value}" for setting, value in entry.settings.items())
        facts["models"] = ", ".join(f"`{model}`" for model, found in MODELS.items() if entry.path in found.paths)
    yield table(["name", f"`{name}`"], ([fact, text] for fact, text in facts.items() if text))


def function_of(entry: Any) -> Callable[..., Any]:
    """What was decorated: the first field, whatever it is called."""
    found: Callable[..., Any] = getattr(entry, fields(entry)[0].name)
    return found


def face() -> Iterator[str]:
    """What can be imported from `iwae_core` itself."""
    yield "# What to import"
    yield doc(iwae_core)
    rows = []
    for name in iwae_core.__all__:
        value = getattr(iwae_core, name)
        if isinstance(value, Registry):
            pages = [f"../{page}.md" for page, (registry, *_) in REGISTRIES.items() if registry is value]
            rows.append([f"[`{name}`]({pages[0]})" if pages else f"`{name}`", f"every {value.kind} by name"])
        else:
            rows.append([f"[`{name}`][{value.__module__}.{value.__qualname__}]", doc(value).split("\n\n")[0]])
    yield table(["name", "what it is"], rows)


def room_page(room: str, found: list[str]) -> Iterator[str]:
    """The docstrings of the modules of a folder, or of a file beside the folders."""
    yield f"# `{room}`"
    members = "false" if len(found) > 1 else "null"  # a folder has none of its own; null: all that say what they are
    yield f"::: {room}\n    options: {{heading_level: 2, {UNDER_HEADING}, members: {members}}}"
    for module in found[1:]:
        yield f"::: {module}\n    options: {{heading_level: 2, show_root_full_path: true}}"


def rooms(package: str) -> dict[str, list[str]]:
    """The modules of each folder of a package, and each file beside the folders, from the ground up."""
    found = {}
    for room in chain.from_iterable(map(sorted, FLOORS[package])):
        name = f"{package}.{room}"
        files = sorted((ROOT / package / room).glob("[a-z]*.py"))
        found[name] = [name, *(f"{name}.{file.stem}" for file in files)]
    return found


def doc(thing: object) -> str:
    """A docstring."""
    return getdoc(thing) or ""


def link(name: str) -> str:
    """To the thing of that name on the same page."""
    return f"[`{name}`](#{name})"


def shown(fact: Any) -> str:
    """A fact as text; nothing for a function or an absent fact."""
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, tuple):
        return ", ".join(map(str, fact))
    return "" if fact is None or callable(fact) else str(fact)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, [":--"] * len(lines[0]))
    return "\n".join(
        "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in line) + " |" for line in lines
    )
