"""The documentation can be built without a warning, holds every equation, and needs nothing but itself."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from iwae_core.bounds import BOUNDS
from iwae_core.estimators import ESTIMATORS
from iwae_core.training.fields import limits, variable
from iwae_lab.engines.settings import EngineLimits
from iwae_lab.words.markup import math

ROOT = Path(__file__).parents[2]
HERE = "http://here/"
# What a browser fetches by itself, and what only a reader follows.
FETCHED = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src", "use": "href"}


class Page(HTMLParser):
    """The ids of a page, what it fetches and where it leads, as addresses on one host."""

    def __init__(self, path: Path, site: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: set[str] = set()
        self.links: set[str] = set()
        self._address = HERE + str(path.relative_to(site))
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if name := values.get("id"):
            self.ids.add(name)
        if address := values.get(FETCHED.get(tag, "")):
            self.fetched.add(urljoin(self._address, address))
        if tag == "a" and (address := values.get("href")):
            self.links.add(urljoin(self._address, address))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Not with --quiet, which would hide warnings from --strict, too.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    found = {HERE + str(path.relative_to(site)): Page(path, site) for path in site.rglob("*.html")}
    assert len(found) > 40
    return found


def test_every_equation_is_there_without_a_script(site: Path) -> None:
    for page, registry in (("bounds", BOUNDS), ("estimators", ESTIMATORS)):
        text = (site / f"{page}.html").read_text()
        for name, entry in registry.items():
            (part,) = re.findall(rf'<h3 id="{name}">.*?(?=<h[23]|</article>)', text, re.S)
            shown = math(entry.equation, display=True)
            assert shown in part
            assert "\\" not in shown, "a command that is not understood"
            assert entry.source.replace("&", "&amp;") in part
        assert not re.findall(r"\\[a-z]+|\$", re.sub(r"<script.*?</script>", "", text, flags=re.S))


def test_pages_fetch_nothing_from_another_host(site: Path, pages: dict[str, Page]) -> None:
    for page in pages.values():
        assert page.fetched
        assert all(address.startswith((HERE, "data:")) for address in page.fetched)
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text())


def test_every_link_within_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    for address, page in pages.items():
        for target in page.fetched | page.links:
            if target.startswith(HERE):
                place, fragment = urldefrag(target)
                file = site / unquote(urlsplit(place).path).lstrip("/")
                assert file.is_file() or (file / "index.html").is_file(), f"{address} leads to {target}"
                if fragment and place in pages:
                    assert unquote(fragment) in pages[place].ids, f"{address} leads to {target}"


def test_what_is_taken_from_readme_is_there(site: Path) -> None:
    operations, home = (re.sub(r"<.*?>", "", (site / f"{page}.html").read_text()) for page in ("operations", "index"))
    assert "docker build" in operations
    assert set(re.findall(r"IWAE_[A-Z_]+", operations)) >= {variable(name) for name in limits(EngineLimits)}
    assert "make demo" in home
