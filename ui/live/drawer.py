"""A button beside the others that opens the settings in the sidebar, and closes them again."""

import streamlit as st

_HTML = '<button type="button" class="drawer" aria-expanded="false"></button>'
_CSS = """
.drawer { background: var(--st-background-color); border: 1px solid var(--st-border-color); border-radius: 0.5rem;
  color: var(--st-text-color); cursor: pointer; display: block; font: inherit; font-size: 0.875rem; height: 2.5rem;
  padding: 0 0.75rem; } /* a block: in a line of text there would be room for descenders below it */
.drawer:hover { border-color: var(--st-primary-color); color: var(--st-primary-color); }
.drawer:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
"""
# Streamlit remembers whether a visitor has the sidebar open and takes no orders from the server: its own buttons do.
_JS = """
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  const find = (name) => document.querySelector(`[data-testid=${name}] button, button[data-testid=${name}]`);
  const tell = () => (button.ariaExpanded = String(!find("stExpandSidebarButton")));
  button.textContent = data.label;
  button.onclick = () => {
    (find("stExpandSidebarButton") ?? find("stSidebarCollapseButton"))?.click();
    setTimeout(tell, 300);
  };
  button.onfocus = button.onpointerenter = tell; // they may have been opened by Streamlit's own buttons
  setTimeout(tell, 300);
}
"""
_mount = st.components.v2.component("drawer", html=_HTML, css=_CSS, js=_JS, isolate_styles=False)


def drawer(label: str, *, key: str) -> None:
    """Show the button."""
    _mount(key=key, data={"label": label}, width="content")
