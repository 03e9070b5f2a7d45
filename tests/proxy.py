"""A TCP proxy before the database that loses the answer to a commit."""

import contextlib
import select
import socket
import threading

from tests.local.servers import HOST

#: After so long without a word the server has answered everything.
SILENT_SECONDS = 0.2


class LossyProxy:
    """Forwards everything until ``lose_answer_after`` was said; then cuts one connection.

    It cuts the first one on which a statement with the given words was sent, when the answer to
    its COMMIT arrives: the server has committed, and the client will never know.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._words: bytes | None = None
        self.cut = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def lose_answer_after(self, words: bytes) -> None:
        self._words = words

    def close(self) -> None:
        # Closing alone would not wake the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((HOST, self._target))
            threading.Thread(target=_forward, args=(self, client, server), daemon=True).start()

    def take_words(self, sent: bytes) -> bool:
        """Tell whether these bytes are the ones that were waited for, once."""
        words = self._words
        if words is None or words not in sent:
            return False
        self._words = None
        return True


def _forward(proxy: LossyProxy, client: socket.socket, server: socket.socket) -> None:
    """Serve one connection until either end closes it, or it is the one to cut."""
    marked = committing = False
    with client, server, contextlib.suppress(OSError):
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if source is client:
                    marked = marked or proxy.take_words(data)
                    committing = marked and b"COMMIT" in data
                    server.sendall(data)
                elif committing:
                    # The first answer may be to a statement that was sent together with COMMIT.
                    while select.select([server], [], [], SILENT_SECONDS)[0] and server.recv(65536):
                        pass
                    proxy.cut.set()
                    return
                else:
                    client.sendall(data)
