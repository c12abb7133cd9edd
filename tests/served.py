"""A server of a session for tests, without sockets and with one."""

import asyncio
import contextlib
import itertools
import json

from moore import Session
from moore.serving.app import App
from moore.serving.desk import Desk
from moore.serving.forms import JSON
from moore.serving.lessons import Lessons
from moore.serving.limits import ServerLimits

OBS = [0.5]
TOKEN = "a-token-of-the-tests"


def old(obs):
    """The controller that ran before."""
    return -0.25 * obs


@contextlib.contextmanager
def sessions(run, log, places):
    """Begins sessions after the offline stage of the run, and closes them in the end."""
    with contextlib.ExitStack() as stack:

        def begin(**more):
            how = {"at": "hand-over", "accept": ("hand-over",), "dataset": log} | more
            session = Session.from_run(run, places.mktemp("sessions") / "session", **how)
            stack.callback(session.close)
            return session

        yield begin


class Served:
    """A server without sockets: requests go to its application, one after the other."""

    def __init__(self, session, *, limits=None, token=None, between=False):
        self.session = session
        self.loop = asyncio.Runner()
        limits = limits or ServerLimits(rate=1e9)
        self.desk = Desk(session, limits.patience)
        self.lessons = Lessons(self.desk, stretch=0.001, between=between)
        self.app = App(self.desk, self.lessons, limits, token)

    def post(self, call, content=None, *, kind=JSON, query="", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        return self.ask("POST", f"/v1/{call}", body, query, **{"content-type": kind} | headers)

    def ask(self, method, path, body=b"", query="", **headers):
        """Status, and the body: an object where it is JSON."""
        return self.loop.run(self.asked(method, path, body, query, **headers))

    async def asked(self, method, path, body=b"", query="", *, parts=1, **headers):
        headers = {"host": "localhost:1", "content-length": str(len(body)), **headers}
        pairs = [
            (name.replace("_", "-").encode(), value.encode("latin-1", "replace"))
            for name, value in headers.items()
        ]
        scope = {"type": "http", "method": method, "path": path, "client": ("127.0.0.1", 9)}
        scope |= {"query_string": query.encode(), "headers": pairs}
        cuts = [len(body) * part // parts for part in range(parts + 1)]
        left = [body[a:b] for a, b in itertools.pairwise(cuts)]
        sent = []

        async def receive():
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        start, content = sent
        kind = dict(start["headers"])[b"content-type"].decode()
        return start["status"], json.loads(content["body"]) if kind == JSON else content["body"]

    def learnt(self):
        """Runs what was asked to be learned."""

        async def run():
            learning = asyncio.create_task(self.lessons.run())
            while self.lessons.told()["wanted"] or self.session.due:
                await asyncio.sleep(0.001)
                if self.lessons.failed:
                    break
            self.lessons.end()
            await learning

        self.loop.run(run())

    def state(self):
        """Everything that a refused request must leave as it is."""
        status = self.session.status
        files = [(path, path.stat().st_size) for path in sorted(self.session.folder.rglob("*"))]
        about = (status.steps, status.updates, status.open, status.awaited, status.due)
        return about, status.mode, status.standing, files


def refused(answer):
    """Status and code of a request that was refused."""
    status, content = answer
    assert content["error"]["message"].endswith("."), content
    return status, content["error"]["code"]
