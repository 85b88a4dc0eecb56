"""A proxy of TCP that cuts each connection after some time, in the midst of whatever it carries."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Cutter:
    """In front of a server. `longest`: seconds that a connection may live; it can be changed."""

    def __init__(self, upstream: tuple[str, int], longest: float, seed: int) -> None:
        self.cuts = 0
        self._upstream = upstream
        self.longest = longest
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # It wakes the thread that accepts, as close would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            share = self._random.random()
            threading.Thread(target=self._carry, args=(client, share), daemon=True).start()

    def _carry(self, client: socket.socket, share: float) -> None:
        begin = time.monotonic()
        with client, socket.create_connection(self._upstream) as server:
            ways = [
                threading.Thread(target=self._pump, args=pair, daemon=True)
                for pair in ((client, server), (server, client))
            ]
            for way in ways:
                way.start()
            while all(way.is_alive() for way in ways) and (
                time.monotonic() < begin + share * self.longest
            ):
                ways[1].join(0.002)
            if all(way.is_alive() for way in ways):
                self.cuts += 1
                # A reset throws away what was sent and not read yet.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for sock in (client, server):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # The peer has done so already.
                    continue
            for way in ways:
                way.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            return


@contextmanager
def cutting(upstream: tuple[str, int], longest: float, seed: int = 0) -> Iterator[Cutter]:
    """A cutter for as long as it is needed."""
    cutter = Cutter(upstream, longest, seed)
    try:
        yield cutter
    finally:
        cutter.close()
