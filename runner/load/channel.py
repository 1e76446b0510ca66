"""A connection between the runner and a load host: JSON lines, and bytes behind a line that says how many.

Both ends prove that they know the run's token without sending it: each signs a number that the other has just drawn
(HMAC, RFC 2104). What follows is neither hidden nor signed: it belongs on a network of one's own.
"""

import contextlib
import hmac
import json
import secrets
import socket
from typing import Any

#: The longest line; what may be longer goes as bytes.
MOST = 1 << 20
CHUNK = 1 << 16
#: A host that vanishes without a word (power, network) is missed after some ten seconds.
KEEP_ALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}
RUNNER, WORKER = "runner", "worker"


class Lost(Exception):
    """The connection is of no more use: why, in words that follow "the connection"."""


class Refused(Exception):
    """The other end does not want us, or is not who it should be: why."""


class Channel:
    """One end of a connection. Everything raises `Lost` once the other end is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._read = bytearray()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)

    @classmethod
    def to(cls, host: str, port: int, limit: float) -> "Channel":
        """Connects, within `limit` seconds."""
        try:
            return cls(socket.create_connection((host, port), timeout=limit))
        except OSError as error:
            raise Lost(f"cannot be made ({error})") from None

    @property
    def peer(self) -> str:
        """The other end's IP address; empty once it is gone."""
        with contextlib.suppress(OSError):
            return str(self._socket.getpeername()[0])
        return ""

    @property
    def has_line(self) -> bool:
        """Whether `hear` would return at once: what has been read is no longer seen by `select`."""
        return b"\n" in self._read

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def tell(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """One line, and bytes behind it, whose number the message should say."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n" + payload)
        except OSError as error:
            raise Lost(f"failed ({error})") from None

    def hear(self, limit: float | None) -> dict[str, Any]:
        """The next line, each part of it at most `limit` seconds after the one before."""
        while not self.has_line:
            if len(self._read) > MOST:
                raise Lost("carries something else than lines")
            self._more(limit)
        line, _, rest = self._read.partition(b"\n")
        self._read = bytearray(rest)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Lost("carries something else than lines of JSON")
        return message

    def take(self, size: int, limit: float) -> bytes:
        """The `size` bytes behind the line that was heard last."""
        while len(self._read) < size:
            self._more(limit)
        payload = bytes(self._read[:size])
        del self._read[:size]
        return payload

    def close(self) -> None:
        """Closes it at once, for whoever else waits on it too."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _more(self, limit: float | None) -> None:
        try:
            self._socket.settimeout(limit)
            got = self._socket.recv(CHUNK)
        except TimeoutError:
            raise Lost(f"was silent for {limit:.0f} s") from None
        except OSError as error:
            raise Lost(f"failed ({error})") from None
        if not got:
            raise Lost("ended")
        self._read += got


def introduce(channel: Channel, token: str, hello: dict[str, Any], limit: float) -> dict[str, Any]:
    """A load host's end of the beginning: proves itself, says `hello`, returns what the runner answers.

    `Refused` where the runner does not want it, or is none that knows the token.
    """
    nonce = secrets.token_hex(16)
    theirs = str(channel.hear(limit).get("nonce"))
    channel.tell({**hello, "nonce": nonce, "proof": _proof(token, WORKER, theirs)})
    answer = channel.hear(limit)
    if "refused" in answer:
        raise Refused(str(answer["refused"]))
    if not _proves(answer, token, RUNNER, nonce):
        raise Refused("what answers there does not know the token: it is not the run that printed the command")
    return answer


def receive(channel: Channel, token: str, limit: float) -> dict[str, Any]:
    """The runner's end of the beginning: the load host's hello, once it has proved itself; answer with `welcome`."""
    nonce = secrets.token_hex(16)
    channel.tell({"nonce": nonce})
    hello = channel.hear(limit)
    if not _proves(hello, token, WORKER, nonce):
        raise Refused("the token is not this run's: each run prints a new command")
    return hello


def welcome(channel: Channel, token: str, hello: dict[str, Any], **more: Any) -> None:
    """The runner's answer to a hello that it is content with."""
    channel.tell({**more, "proof": _proof(token, RUNNER, str(hello["nonce"]))})


def _proof(token: str, who: str, nonce: str) -> str:
    return hmac.digest(token.encode(), f"{who}:{nonce}".encode(), "sha256").hex()


def _proves(message: dict[str, Any], token: str, who: str, nonce: str) -> bool:
    return hmac.compare_digest(str(message.get("proof")).encode(), _proof(token, who, nonce).encode())
