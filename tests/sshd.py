"""A host's own sshd, for those tests that reach it over ssh."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import waiting
from tests.namespaces import Host

PORT = 2222


@contextlib.contextmanager
def running_sshd(host: Host, folder: Path, environment: str) -> Iterator[list[str]]:
    """On that host as root; its sessions have `environment` (`NAME=value …`). The `ssh` that gets in, to which a name
    or an address is added; what it is made of is in `folder`.
    """
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("there is no sshd (Debian's openssh-server): hosts over ssh are not tried here")
    for key in ("host", "own"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "sshd_config").write_text(
        f"Port {PORT}\nListenAddress {host.address}\nHostKey {folder / 'host'}\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'own.pub'}\nPermitRootLogin yes\nPasswordAuthentication no\n"
        f"SetEnv {environment}\n"
    )
    (folder / "ssh_config").write_text(
        f"Port {PORT}\nIdentityFile {folder / 'own'}\nIdentitiesOnly yes\nUserKnownHostsFile {folder / 'known'}\n"
        "StrictHostKeyChecking accept-new\n"
    )
    # Where Debian's sshd puts those who have not yet proved who they are.
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        argv = host.command(program, "-D", "-e", "-f", str(folder / "sshd_config"))
        server = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        assert waiting.wait_for(lambda: _listens(host.address), 30), (folder / "sshd.log").read_text()
        yield ["ssh", "-F", str(folder / "ssh_config")]
    finally:
        server.terminate()
        server.wait(30)


def _listens(address: str) -> bool | None:
    with contextlib.suppress(OSError), socket.create_connection((address, PORT), timeout=5):
        return True
    return None
