"""Serves the live page of a run or a session to this machine alone, and only reads.

It listens on the loopback address. It also refuses requests that name another host, so that no
page from elsewhere that is open in the same browser can read it (DNS rebinding).
"""

import json
import secrets
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from moore.errors import InputError
from moore.numbers import with_nulls
from moore.reports.live_page import live_content, live_facts, live_page
from moore.runs.folder import read_metrics
from moore.version import __version__

_LOOPBACK = "127.0.0.1"
_HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, or of a session, that may still go on."""

    path: Path

    def read(self) -> tuple[dict, list[dict]]:
        """How the run stands, and its rows of metrics.

        Raises:
            InputError: a file is damaged.
        """
        metrics, config = self.path / "metrics.jsonl", self.path / "config.toml"
        rows = read_metrics(metrics) if metrics.exists() else []
        try:
            text = config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            text = ""
        finished = (self.path / "summary.json").exists()
        session = self._session()
        return live_facts(self.path.name, rows, text, finished=finished, session=session), rows

    def _session(self) -> dict | None:
        """What a session tells of itself, and how old that is; None where there is none."""
        try:
            told = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
            return told | {"age": time.time() - told["time"]}
        except (OSError, ValueError, TypeError, KeyError):
            return None


def live_server(run: str | Path, *, port: int, refresh: float = 2.0) -> ThreadingHTTPServer:
    """A server for the live page of a run or a session; call its `serve_forever`.

    Args:
        run: folder of the run or of the session.
        port: port on the loopback address; 0 takes a free one.
        refresh: seconds between two looks of the page.

    Raises:
        InputError: there is no such folder, or the port cannot be used.
    """
    folder = RunFolder(Path(run).expanduser().resolve())
    files = ("config.toml", "metrics.jsonl", "session.json")
    if not any((folder.path / name).exists() for name in files):
        raise InputError(
            f"{run} is not the folder of a run or of a session: it has none of {', '.join(files)}."
        )
    if not 0.1 <= refresh <= 3600.0:
        raise InputError(f"the refresh is {refresh} s; expected 0.1 to 3600.")
    if not 0 <= port < 65536:
        raise InputError(f"the port is {port}; expected 0 to 65535.")

    class Handler(_Handler):
        watched, seconds = folder, refresh

    try:
        server = ThreadingHTTPServer((_LOOPBACK, port), Handler)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used ({error.strerror}); give another one, or 0 for a free one."
        ) from None
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; everything else gets status 501."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"moore/{__version__}", ""
    timeout = 10.0
    watched: RunFolder
    seconds: float
    _busy = threading.Lock()  # one page at a time: many open pages must not slow the run down

    def do_GET(self) -> None:
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in _HOSTS:
            self._answer(403, "text/plain", "This page is for this machine alone.\n", "")
            return
        path = urlsplit(self.path).path
        if path not in ("/", "/content", "/facts.json"):
            self._answer(404, "text/plain", "There is no such page.\n", "")
            return
        nonce = secrets.token_urlsafe(16)
        try:
            with self._busy:
                kind, body = self._made(path, nonce)
        except InputError as error:
            self._answer(503, "text/plain", f"{error}\n", "")
            return
        self._answer(200, kind, body, nonce)

    do_HEAD = do_GET

    def _made(self, path: str, nonce: str) -> tuple[str, str]:
        facts, rows = self.watched.read()
        if path == "/facts.json":
            return "application/json", json.dumps(with_nulls(facts))
        if path == "/content":
            return "text/html", live_content(facts, rows)
        return "text/html", live_page(facts, rows, refresh=self.seconds, nonce=nonce)

    def _answer(self, status: int, kind: str, body: str, nonce: str) -> None:
        content = body.encode()
        policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; "
        policy += "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing: the console belongs to whoever started the command."""
