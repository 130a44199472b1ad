"""A TCP proxy in front of a broker, which can be slow, can be cut, and can lose a request.

Workers behind it see the broker through the `advertised.listeners` of a listener of its own (`kafka`), so everything
that they send to that broker comes through here.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
LOOK_AGAIN_S: Final = 0.05


class Proxies:
    """The proxies of all brokers, in an event loop of their own. `delay_s` is added to every chunk, both ways."""

    def __init__(self, routes: dict[int, int]) -> None:
        """`routes` maps a port to listen on to the port of the broker's listener."""
        self.delay_s = 0.0
        self.loses: Callable[[bytes], bool] = lambda _: False
        """Says of what a client sends whether it gets lost. Its connection stays open, and is silent from there on."""
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        for port, target in routes.items():
            asyncio.run_coroutine_threadsafe(self._listen(port, target), self._loop).result(10)

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._break_all)

    def mend(self) -> None:
        """Work normally again."""
        self._cut, self.delay_s = False, 0.0

    def stop(self) -> None:
        """Break every connection, and stop listening."""
        self._cut = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        """End everything that runs in the loop: a task that it leaves behind is said to be destroyed."""
        for server in self._servers:
            server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            self._break_all()  # again: a connection may have been on its way
            await asyncio.wait(others, timeout=LOOK_AGAIN_S)

    async def _listen(self, port: int, target: int) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._connect(reader, writer, target)

        self._servers.append(await asyncio.start_server(connected, HOST, port))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        try:
            if self._cut:
                raise ConnectionRefusedError
            broker_reader, broker_writer = await asyncio.open_connection(HOST, target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, broker_writer}
        await asyncio.gather(self._pass_on(reader, broker_writer, asked=True), self._pass_on(broker_reader, writer))
        self._writers -= {writer, broker_writer}

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool = False
    ) -> None:
        """`asked`: by a client."""
        lost = False
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                lost = lost or (asked and self.loses(data))
                if lost:
                    continue
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
