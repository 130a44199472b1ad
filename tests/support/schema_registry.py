"""A Schema Registry over HTTP, for tests: the part of the REST interface that clients of records use, kept in memory.

It answers like Confluent's: ids are the same for the same text, subjects have versions, a version that is not
compatible with those before it is refused (409), and errors have the codes by which clients tell them apart. `trouble`
makes it misbehave.
"""

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from processors.codec.compatibility import unreadable

Answer = tuple[int, Any]
UNAUTHORIZED: Answer = (401, {"error_code": 40101, "message": "who are you"})
FORBIDDEN: Answer = (403, {"error_code": 40301, "message": "not you"})
NO_SUBJECT: Answer = (404, {"error_code": 40401, "message": "no such subject"})
NO_SCHEMA: Answer = (404, {"error_code": 40403, "message": "no such schema"})
NOT_A_REGISTRY: Answer = (404, "<html>nothing here</html>")
BROKEN: Answer = (500, {"error_code": 50001, "message": "the store is away"})
NONSENSE: Answer = (200, "<html>all is well</html>")
CONFLICT = 409


class SchemaRegistry:
    """A registry at `url`, from `with` to its end. `stop` and `start` in between keep its contents."""

    def __init__(self, user: str | None = None, token: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """It requires `user` (`name:password`), or `token` of bearer authentication."""
        self.texts: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.compatibility = "BACKWARD"
        self.trouble: Answer | None = None
        self.read_only = False
        self.calls: list[str] = []
        self._expected = None
        if user is not None:
            self._expected = "Basic " + base64.b64encode(user.encode()).decode()
        if token is not None:
            self._expected = f"Bearer {token}"
        self._tls, self._port, self._lock = tls, 0, threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The address at which it is, or was."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start to answer, at the same port as before."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: Any) -> None:
                status, answer = registry.answer(self.command, self.path, self.headers.get("Authorization"), body)
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def start_anew(self) -> None:
        """Forget everything, and end all trouble."""
        self.texts, self.subjects, self.calls = [], {}, []
        self.compatibility, self.trouble, self.read_only = "BACKWARD", None, False
        if self._server is None:
            self.start()

    def stop(self) -> None:
        """Stop: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, method: str, path: str, authorization: str | None, body: Any) -> Answer:
        """Return the answer to a request."""
        with self._lock:
            path = urlsplit(path).path
            self.calls.append(f"{method} {path}")
            if self.trouble is not None:
                return self.trouble
            if authorization != self._expected:
                return UNAUTHORIZED
            match [unquote(part) for part in path.strip("/").split("/")]:
                case ["schemas", "ids", number] if method == "GET":
                    known = 0 < int(number) <= len(self.texts)
                    return (200, {"schema": self.texts[int(number) - 1]}) if known else NO_SCHEMA
                case ["subjects"] if method == "GET":
                    return 200, sorted(self.subjects)
                case ["subjects", subject] if method == "POST":
                    return self._look_up(subject, body["schema"])
                case ["subjects", subject, "versions"] if method == "POST":
                    return self._register(subject, body["schema"])
                case _:
                    return NOT_A_REGISTRY

    def _look_up(self, subject: str, text: str) -> Answer:
        if subject not in self.subjects:
            return NO_SUBJECT
        for version, number in enumerate(self.subjects[subject], 1):
            if self.texts[number - 1] == text:
                return 200, {"subject": subject, "id": number, "version": version, "schema": text}
        return NO_SCHEMA

    def _register(self, subject: str, text: str) -> Answer:
        status, known = self._look_up(subject, text)
        if status == 200:
            return 200, {"id": known["id"]}
        if self.read_only:
            return FORBIDDEN
        versions = self.subjects.get(subject, [])
        for number in versions:
            if wrong := self._incompatible(json.loads(self.texts[number - 1]), json.loads(text)):
                return CONFLICT, {"error_code": CONFLICT, "message": f"incompatible: {wrong[0]}"}
        self.subjects.setdefault(subject, versions).append(self.put(text))
        return 200, {"id": self.subjects[subject][-1]}

    def _incompatible(self, old: Any, new: Any) -> list[str]:
        wrong: list[str] = []
        if self.compatibility in ("BACKWARD", "FULL"):
            wrong += unreadable(reader=new, writer=old, what="old records")
        if self.compatibility in ("FORWARD", "FULL"):
            wrong += unreadable(reader=old, writer=new, what="new records")
        return wrong

    def put(self, text: str) -> int:
        """Return the id of a text under no subject. It is not checked."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1
