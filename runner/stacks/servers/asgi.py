"""What Django under ASGI has in common, whichever server runs it."""

from typing import Literal

from runner.stacks.servers.base import Context, ServerSpec


class AsgiServerSpec(ServerSpec):
    """Each request gets a thread of its own from asgiref, whatever the server's processes and loops are."""

    @property
    def threads_per_process(self) -> None:
        return None

    @property
    def context(self) -> Context:
        return "request"

    @property
    def entry_point(self) -> Literal["wsgi", "asgi"]:
        return "asgi"
