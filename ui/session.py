"""What all visitors share: the engine that trains, and the recorded experiment everybody sees first."""

import os
import tempfile
from pathlib import Path

import streamlit as st

from iwae_core.engines import ENGINES, Engine, UnknownRunError
from iwae_core.history import History
from iwae_core.log import read_log

RECORDING = Path(__file__).parents[1] / "iwae_core" / "assets" / "recorded" / "vae_iwae_k50.jsonl.xz"


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """The one engine of this server. Runs are kept in `IWAE_RUNS_DIR`, or in the system's temporary folder."""
    folder = os.environ.get("IWAE_RUNS_DIR") or Path(tempfile.gettempdir()) / "iwae-runs"
    return ENGINES["local"].item(Path(folder))


@st.cache_resource(show_spinner=False)
def recording() -> History:
    """The finished experiment that ships with the program."""
    return History(read_log(RECORDING))


def current_run() -> str | None:
    """The run named in the address, if there is one here; a stale link is reported and dropped."""
    run_id = st.query_params.get("run")
    if run_id is None:
        return None
    try:
        engine().spec(run_id)
    except UnknownRunError as error:
        st.warning(f"{error}. Showing the recorded experiment instead.")
        del st.query_params["run"]
        return None
    return run_id
