"""What comes along with the document."""

from importlib.resources import files

from ui.server.first_paint import SOON, scripts


def test_scripts_that_pages_soon_need_are_named_with_all_they_import() -> None:
    found = scripts()
    assert {name.partition(".")[0] for name in found} >= set(SOON)
    document = (files("streamlit") / "static" / "index.html").read_text(encoding="utf-8")
    assert not [name for name in found if name in document]
    assert len(found) == len(set(found)) < 80
    assert any(name.startswith("recordbatch.") for name in found), "which BidiComponent needs by way of another"
