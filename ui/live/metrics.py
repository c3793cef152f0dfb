"""Numbers for Prometheus, on a port of their own: whoever may watch the server is not whoever may read the page."""

import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from ui.live.hub import HUB
from ui.session import opened


def serve_metrics(port: int) -> ThreadingHTTPServer:
    """Answer at /metrics for as long as the process lives."""
    server = ThreadingHTTPServer(("", port), _Answer)
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Answer(BaseHTTPRequestHandler):
    timeout = 5.0  # seconds within which a request has to arrive

    def do_GET(self) -> None:
        found = self.path == "/metrics"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.end_headers()
        if found:
            self.wfile.write("".join(_lines()).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it is asked four times a minute."""


def _lines() -> Iterator[str]:
    yield from _family("iwae_watchers", "gauge", "pages that are open", {"": len(HUB.readers)})
    yield from _family("iwae_drawings_total", "counter", "drawings made for them", {"": HUB.drawings})
    seconds = {"": HUB.drawing_seconds}
    yield from _family("iwae_drawing_seconds_total", "counter", "processor seconds that these took", seconds)
    with suppress(OSError):  # only Linux tells
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory = {"": pages * resource.getpagesize()}
        yield from _family("iwae_memory_bytes", "gauge", "memory that the server has", memory)
    if engine := opened():
        census = engine.census()
        yield from _family("iwae_runs", "gauge", "unfinished runs", _by_state(census.unfinished))
        yield from _family("iwae_runs_ended_total", "counter", "runs that have ended here", _by_state(census.ended))
        yield from _family("iwae_steps", "gauge", "steps that the unfinished runs have made", {"": census.steps})
        yield from _family("iwae_slots", "gauge", "runs that can train at the same time", {"": census.slots})
        yield from _family("iwae_engine_up", "gauge", "whether runs can be started", {"": int(not engine.trouble())})


def _by_state(counts: Mapping[str, int]) -> dict[str, float]:
    return {f'{{state="{state}"}}': count for state, count in counts.items()}


def _family(name: str, kind: str, text: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    yield from (f"{name}{label} {value:.10g}\n" for label, value in values.items())
