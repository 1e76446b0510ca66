"""The harness's own requests: is this our app, is it up, does each endpoint answer as it should?"""

import requests

from runner import waiting
from runner.errors import PortLost, StackError
from runner.provision.logs import log_cause
from runner.provision.service import Address, Service
from runner.stacks.app import App, Check
from runner.stacks.servers.base import PROBE_QUERY

SHOWN = 200


def wait_until_ready(service: Service, app: App, token: str) -> None:
    """Returns when the app answers and has proved to be the one that was started."""

    path = app.description.ready
    last = "it did not answer"

    def probe() -> bool | None:
        nonlocal last
        if not service.alive():
            service.bring_log()
            cause = log_cause(service.log_path)
            raise StackError(f"{service.name} ended while starting{cause}; its log ends:\n{service.log_tail()}")
        try:
            # Each try on a connection of its own: a server that is starting may keep none.
            with own_client() as client:
                answer = request(client, service.address, "GET", path or "/")
        except requests.RequestException:
            return None
        if answer.headers.get("X-Connbench-Token") != token:
            raise PortLost(f"{service.name}: {service.address} is answered by something that this run did not start")
        last = f"{path} answered {answer.status_code}: {answer.text[:SHOWN]!r}"
        return True if answer.status_code < 400 or not path else None

    if waiting.wait_for(probe, waiting.APP_START) is None:
        limit = f"{waiting.APP_START:.0f} s"
        tail = f"its log ends:\n{service.log_tail()}"
        raise StackError(f"{service.name} was not ready within {limit} ({last}); {tail}")


def run_checks(service: Service, app: App) -> None:
    """Sends every check of the app, one after the other, as one client: predictions count on it."""
    with own_client() as client:
        for check in app.description.checks:
            verify(client, service, check)


def own_client() -> requests.Session:
    """A client that heeds no proxy settings: everything here is on loopback."""
    client = requests.Session()
    client.trust_env = False
    return client


def verify(client: requests.Session, service: Service, check: Check) -> None:
    """StackError, with what came instead, where the answer is not what the check says."""
    where = f"{check.method} {check.path}"
    try:
        answer = request(client, service.address, check.method, check.path, check.json_body)
    except requests.RequestException as error:
        raise StackError(
            f"{where}: no answer ({error}); the log of {service.name} ends:\n{service.log_tail()}"
        ) from error
    if answer.status_code != check.status:
        raise StackError(
            f"{where}: status {answer.status_code}, expected {check.status}; it says: {answer.text[:SHOWN]!r}; "
            f"the log of {service.name} ends:\n{service.log_tail()}"
        )
    if check.contains not in answer.text:
        raise StackError(f"{where}: {check.contains!r} is not in the answer, which begins {answer.text[:SHOWN]!r}")


def request(
    client: requests.Session, address: Address, method: str, path: str, body: object = None
) -> requests.Response:
    """One of the harness's own requests, which access logs can tell from the load; redirects are not followed."""
    separator = "&" if "?" in path else "?"
    return client.request(
        method,
        f"http://{address}{path}{separator}{PROBE_QUERY}",
        json=body,
        timeout=waiting.HTTP_PROBE,
        allow_redirects=False,
    )
