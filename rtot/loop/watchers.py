"""Which clients depend on which jobs: whom to wake, and which jobs are still needed."""

from rtot.loop.client import Client


class Watchers:
    """Clients by the topics that they watch. It contains the topics that somebody watches."""

    __slots__ = ("_clients", "_unwatched")

    def __init__(self) -> None:
        self._clients: dict[int, set[Client]] = {}
        self._unwatched: list[int] = []

    def __contains__(self, topic: object) -> bool:
        return topic in self._clients

    def of(self, topic: int) -> list[Client]:
        """Those that watch the topic."""
        return list(self._clients.get(topic, ()))

    def watch(self, client: Client, topics: tuple[int, ...]) -> None:
        """Let the client watch these topics, and no other."""
        # Thousands may be waited for: not each of them is to be compared in every turn.
        if topics is client.topics or topics == client.topics:
            return
        for topic in client.topics:
            clients = self._clients[topic]
            clients.discard(client)
            if not clients:
                del self._clients[topic]
                self._unwatched.append(topic)
        client.topics = topics
        for topic in topics:
            self._clients.setdefault(topic, set()).add(client)

    def take_unwatched(self) -> list[int]:
        """The topics that nobody watches any more since the last call; some may be again."""
        unwatched, self._unwatched = self._unwatched, []
        return unwatched
