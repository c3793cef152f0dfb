"""The page of a server whose cluster cannot be reached."""

import json
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

from iwae_lab.engines.cluster.roster import SILENT
from tests.support.cluster import address
from tests.support.server import HTML, server
from ui.live.hub import unpacked

STATUS = json.dumps({"part": "status"})


def test_a_page_whose_cluster_is_down_is_up_and_says_so(tmp_path: Path) -> None:
    scheduler, metrics = address(), address()
    port = metrics.rpartition(":")[2]
    with server(tmp_path, IWAE_SCHEDULER=scheduler, IWAE_METRICS_PORT=port) as page:
        assert page.ask("/", HTML).status == 200
        with connect(f"ws://127.0.0.1:{page.port}/live") as socket:
            socket.send(json.dumps([STATUS]))
            while SILENT not in unpacked(bytes(socket.recv(timeout=60, decode=False)))[1]["html"]:
                pass
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                told = answer.read().decode()
        for line in "iwae_engine_up 0", "iwae_slots 0", "iwae_watchers 1", "# TYPE iwae_runs gauge":
            assert f"\n{line}\n" in told
        assert scheduler in page.log.read_text(), "whoever runs the server reads where"
        assert scheduler not in SILENT
        code, seconds = page.end()
        assert code == 0
        assert seconds < 10
