"""An ASGI server under load: uvicorn with h11 on a loopback socket, a small application with a router.

The main thread serves; an iteration ends when it has answered so many requests. The client is a process that writes to
four connections and waits for the answers. It has the CPUs that the server has at the start, and ends when the server
closes its sockets, as it does by dying.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

PACKAGES = ("uvicorn", "h11")
NEAR_SYSTEM_CALLS = True
REQUESTS = 40
CONNECTIONS = 4

CLIENT = """
import itertools, socket, sys
port, connections = int(sys.argv[1]), int(sys.argv[2])
paths = ("/", "/users/7?full=1&page=2", "/users/8/orders", "/search?q=a+b&limit=20", "/nowhere")
head = "GET %s HTTP/1.1\\r\\nHost: localhost\\r\\nAccept: */*\\r\\nX-Trace: 42\\r\\n\\r\\n"
sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
try:
    for request in itertools.cycle([(head % path).encode() for path in paths]):
        for each in sockets:
            each.sendall(request)
        for each in sockets:
            answer = b""
            while not answer.endswith(b"\\n.\\n"):  # each body ends so, and nothing else does
                part = each.recv(65536)
                if not part:
                    sys.exit()
                answer += part
except OSError:
    pass
"""

if TYPE_CHECKING:
    Send = Callable[[Any], Awaitable[None]]
    Handler = Callable[..., Awaitable[Any]]


class Router:
    """Finds the handler of a path by patterns such as "/users/{id}"."""

    def __init__(self) -> None:
        self.routes: list[tuple[re.Pattern[str], Handler]] = []

    def route(self, path: str) -> Callable[[Handler], Handler]:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "$")

        def add(handler: Handler) -> Handler:
            self.routes.append((pattern, handler))
            return handler

        return add

    async def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        for pattern, handler in self.routes:
            match = pattern.match(path)
            if match:
                return 200, await handler(query, **match.groupdict())
        return 404, {"error": "no such page"}


router = Router()


@router.route("/")
async def index(query: dict[str, str]) -> Any:
    return {"pages": [pattern.pattern for pattern, _ in router.routes]}


@router.route("/users/{user}")
async def show_user(query: dict[str, str], user: str) -> Any:
    return {"id": int(user), "name": f"user {user}", "full": bool(query.get("full"))}


@router.route("/users/{user}/orders")
async def show_orders(query: dict[str, str], user: str) -> Any:
    return [{"order": number, "user": int(user), "total": number * 3} for number in range(10)]


@router.route("/search")
async def search(query: dict[str, str]) -> Any:
    return {"words": query.get("q", "").split(), "limit": int(query.get("limit", "10"))}


class Application:
    """The ASGI application; `expect` gives a future that is done after so many answers."""

    def __init__(self) -> None:
        self.left = 0
        self.done: asyncio.Future[None] | None = None

    async def expect(self, answers: int) -> None:
        self.left = answers
        self.done = asyncio.get_running_loop().create_future()
        await self.done

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        query = dict(parse_qsl(scope["query_string"].decode()))
        status, content = await router.answer(scope["path"], query)
        body = json.dumps(content).encode() + b"\n.\n"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.left -= 1
        if self.left == 0 and self.done is not None:
            self.done.set_result(None)


def setup() -> Callable[[], object]:
    import uvicorn

    application = Application()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # With the protocol named, asyncio switches TCP_NODELAY on: without it each answer would wait for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # at once: the client may be there before the server runs
    config = uvicorn.Config(application, http="h11", loop="asyncio", lifespan="off", log_level="error")
    serving = loop.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    port = listener.getsockname()[1]
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(port), str(CONNECTIONS)])
    keep = (client, serving)  # for as long as the program runs

    def iterate() -> tuple[object, ...]:
        loop.run_until_complete(application.expect(REQUESTS))
        return keep

    return iterate
