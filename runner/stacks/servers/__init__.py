"""The application servers that connbench knows: one row a server."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from runner.stacks.servers.base import ServerSpec
from runner.stacks.servers.daphne import DaphneSpec
from runner.stacks.servers.granian import GranianSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.servers.mod_wsgi import ModWsgiSpec
from runner.stacks.servers.runserver import RunserverSpec
from runner.stacks.servers.uvicorn import UvicornSpec
from runner.stacks.servers.uwsgi import UwsgiSpec

SERVERS: tuple[type[ServerSpec], ...] = (
    GunicornSpec,
    UwsgiSpec,
    RunserverSpec,
    UvicornSpec,
    DaphneSpec,
    GranianSpec,
    ModWsgiSpec,
)

if TYPE_CHECKING:
    AnyServerSpec = ServerSpec
else:
    #: What a matrix may say of a server; the kind decides which of the specs it is.
    AnyServerSpec = Annotated[reduce(or_, SERVERS), Field(discriminator="kind")]

__all__ = ["SERVERS", "AnyServerSpec", "ServerSpec"]
