"""What a run needs of its provider before anything is started: that it can run the plan, environments, versions."""

import ipaddress
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar, Protocol

import docker
from rich.console import Console

from runner import doctor
from runner.errors import EnvironmentUnfit
from runner.host import describe_versions, installed_servers
from runner.matrix.cells import Cell, own_engines
from runner.plan import Plan
from runner.provision import engine
from runner.provision.apart import ApartProvider
from runner.provision.commands import PYTHON
from runner.provision.docker import DockerProvider
from runner.provision.native import NativeProvider
from runner.provision.roles import Hosts, Roles
from runner.provision.service import PLACED, Kit, Provider, Role
from runner.stacks.databases import DATABASES
from runner.stacks.databases.hosted_place import refuse_unfit
from runner.stacks.databases.postgres import PostgresSpec
from runner.stacks.environment import AppEnvironment, build_environment
from runner.stacks.image import build_image
from runner.stacks.poolers import POOLERS
from runner.stacks.versions import Recipe

AUTO = "auto"


class Site(Protocol):
    """One of the places where a plan can run."""

    kind: str

    def require(self, plan: Plan) -> None:
        """EnvironmentUnfit, with the remedy, where something is missing that the plan needs."""
        ...

    def environments(self, cells: Iterable[Cell], messages: Console) -> dict[Recipe, AppEnvironment]:
        """The app environments that the cells need; built where they are missing."""
        ...

    def versions(self, environments: Mapping[Recipe, AppEnvironment], cells: Iterable[Cell]) -> dict[str, str]:
        """Of everything that bears on figures."""
        ...

    def provider(self, roles: Roles) -> Provider: ...


class NativeSite:
    """This machine, with what is installed on it."""

    kind = NativeProvider.kind

    def require(self, plan: Plan) -> None:
        plan.roles.refuse_memory()
        plan.roles.refuse_beyond(os.cpu_count() or 1)
        cells = plan.cells.values()
        poolers = {cell.pooler.kind for cell in cells if cell.pooler is not None}
        servers = {cell.server.kind for cell in cells if cell.serves}
        doctor.require_programs(own_engines(cells), poolers, servers)
        # A server that is there already is looked at, and left as it is.
        for spec in {cell.database_name: cell.database for cell in cells}.values():
            if isinstance(spec, PostgresSpec) and spec.hosted:
                refuse_unfit(spec)

    def environments(self, cells: Iterable[Cell], messages: Console) -> dict[Recipe, AppEnvironment]:
        with messages.status("building the app's environment (once; uWSGI takes half a minute to compile)"):
            return {recipe: build_environment(recipe) for recipe in recipes_of(cells)}

    def versions(self, environments: Mapping[Recipe, AppEnvironment], cells: Iterable[Cell]) -> dict[str, str]:
        return {**describe_versions(environments), **installed_servers(own_engines(cells))}

    def provider(self, roles: Roles) -> NativeProvider:
        return NativeProvider(roles)


class DockerSite:
    """A Docker engine, with the images that it has or can pull; what a part of a stack needs is asked of its engine."""

    kind = DockerProvider.kind
    #: The way out for what containers cannot run.
    _instead: ClassVar[str] = "use --provider native"

    @cached_property
    def _clients(self) -> Mapping[Role, docker.DockerClient]:
        return dict.fromkeys(PLACED, engine.connect())

    def require(self, plan: Plan) -> None:
        for cell in plan.cells.values():
            if reason := why_native(cell):
                raise EnvironmentUnfit(f"{cell.id}: {reason}: take that out, or {self._instead}")
        for role, client in self._clients.items():
            plan.roles.only(role).refuse_beyond(int(client.info()["NCPU"]))
        plan.roles.only("load").refuse_beyond(os.cpu_count() or 1)
        for role, kit in placed_kits(plan.cells.values()):
            engine.find_image(self._clients[role], kit)

    def environments(self, cells: Iterable[Cell], messages: Console) -> dict[Recipe, AppEnvironment]:
        def say(text: str) -> None:
            messages.print(text, markup=False, highlight=False, soft_wrap=True)

        return {recipe: build_image(recipe, self._clients["app"], say) for recipe in recipes_of(cells)}

    def versions(self, environments: Mapping[Recipe, AppEnvironment], cells: Iterable[Cell]) -> dict[str, str]:
        found = {**describe_versions(environments), "docker": str(self._clients["app"].version()["Version"])}
        apps: list[tuple[Role, Kit]] = [("app", one.kit) for one in environments.values() if one.kit is not None]
        for role, kit in (*placed_kits(cells), *apps):
            digest = engine.digest_of(engine.find_image(self._clients[role], kit))
            found[f"image/{kit.name}"] = f"{engine.image_of(kit)} {digest}"
        return found

    def provider(self, roles: Roles) -> Provider:
        return DockerProvider(roles)


SITES: Mapping[str, type[NativeSite] | type[DockerSite]] = {"native": NativeSite, "docker": DockerSite}


def why_native(cell: Cell) -> str:
    """What keeps a cell out of containers, in words; empty where nothing does."""
    if cell.environment.system_python:
        return "mod_wsgi is bound to the system's own Python and Apache, which the app's image does not have"
    if cell.load.hosts:
        return "containers do not have the address load.reach, where load.hosts look for the app"
    if cell.database.hosted:
        return (
            f"the connections to {cell.database_name} (url_from) are counted as they leave this machine, "
            "and a container's pass through the engine's address translation"
        )
    return ""


class SitesApart(DockerSite):
    """A Docker engine for each part of a stack."""

    _instead = "`hosts`"

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    @cached_property
    def _clients(self) -> Mapping[Role, docker.DockerClient]:
        return {role: engine.connect(self._hosts.of(role)) for role in PLACED}

    def require(self, plan: Plan) -> None:
        for role in PLACED if self._hosts.apart else ():
            name = self._hosts.of(role)
            if ipaddress.ip_address(engine.ip_of(name)).is_loopback:
                raise EnvironmentUnfit(
                    f"hosts.{role}: {name} is {engine.ip_of(name)} from here, where the other hosts do not find it: "
                    "name it by an address that all of them reach"
                )
        super().require(plan)

    def versions(self, environments: Mapping[Recipe, AppEnvironment], cells: Iterable[Cell]) -> dict[str, str]:
        found = super().versions(environments, cells)
        for role, client in self._clients.items():
            info = client.info()
            found[f"host/{role}"] = f"{self._hosts.of(role)}, {info['NCPU']} cores, Linux {info['KernelVersion']}"
        return found

    def provider(self, roles: Roles) -> Provider:
        return ApartProvider(roles, self._hosts)


def choose_site(name: str, plan: Plan) -> Site:
    """By name; `auto` is Docker where an engine answers and can run all the cells, else this machine."""
    if plan.hosts is not None:
        if name == NativeSite.kind:
            raise EnvironmentUnfit("hosts: parts of a stack are put elsewhere as containers: use --provider docker")
        return SitesApart(plan.hosts)
    if name == AUTO:
        native = any(map(why_native, plan.cells.values())) or not engine.answers()
        name = "native" if native else "docker"
    return SITES[name]()


def site_of_many(name: str) -> Site:
    """That of each of several hosts; `auto` is the machine itself, since their engines need not be alike."""
    return SITES["native" if name == AUTO else name]()


def placed_kits(cells: Iterable[Cell]) -> list[tuple[Role, Kit]]:
    """What the cells need beside the app's own image, by the part whose engine has to have it."""
    cells = list(cells)
    databases = sorted({cell.database.engine for cell in cells})
    poolers = sorted({cell.pooler.kind for cell in cells if cell.pooler is not None})
    found: list[tuple[Role, Kit]] = [(role, PYTHON) for role in PLACED]  # it looks after the other containers
    found += [("database", DATABASES[name].kit) for name in databases]
    return found + [("pooler", POOLERS[name].kit) for name in poolers]


def recipes_of(cells: Iterable[Cell]) -> list[Recipe]:
    """What the cells' environments are made of."""
    return sorted({cell.environment for cell in cells}, key=lambda recipe: recipe.name)
