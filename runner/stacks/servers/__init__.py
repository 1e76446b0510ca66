"""The application servers, one row each."""

from typing import Annotated

from pydantic import Field

from runner.stacks.servers.base import ServerSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.servers.uwsgi import UwsgiSpec

AnyServerSpec = Annotated[GunicornSpec | UwsgiSpec, Field(discriminator="kind")]

__all__ = ["AnyServerSpec", "ServerSpec"]
