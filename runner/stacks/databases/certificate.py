"""A certificate of a server's own, for TLS on the loopback interface."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from runner import waiting
from runner.errors import EnvironmentUnfit
from runner.provision.commands import run_command
from runner.provision.service import Command


@dataclass(frozen=True)
class Certificate:
    """PEM files that belong to the server's user; the certificate is signed by its own key."""

    path: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """A new one in a server's private folder; EnvironmentUnfit where there is no `openssl`."""
    program = shutil.which("openssl")
    if program is None:
        raise EnvironmentUnfit("openssl is not installed, and `tls: true` needs a certificate: apt-get install openssl")
    made = Certificate(folder / "server.crt", folder / "server.key")
    # An elliptic key, as today's certificates mostly have: an RSA one would make each handshake dearer.
    argv = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "2", "-subj", "/CN=connbench", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv += ["-out", str(made.path), "-keyout", str(made.key)]
    command = Command(argv, cwd=folder)
    run_command(command, limit=waiting.DATABASE_START, what="making a certificate with openssl", unprivileged=True)
    return made
