"""Docker engines on hosts of a test's own: each in a network namespace, its images kept for the next time."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from runner import waiting
from runner.provision.engine import LABEL
from tests.namespaces import Host

#: With certificates.
PORT = 2376
#: A certificate, its key, and the authority that it is itself.
CERTIFICATE, KEY = "cert.pem", "key.pem"


@dataclass(frozen=True)
class FarEngine:
    """It listens at its host's address for who has its certificate, and at a socket file; `folder` has all of it."""

    host: Host
    folder: Path

    @property
    def socket(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Its containers have no network but the host's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _make_certificate(self.folder, self.host.address)
        places = {"data-root": "root", "exec-root": "exec", "pidfile": "docker.pid"}
        files = {"tlscacert": CERTIFICATE, "tlscert": CERTIFICATE, "tlskey": KEY}
        named = [f"--{key}={self.folder / name}" for key, name in {**places, **files}.items()]
        alone = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--tlsverify")
        listening = (f"--host=tcp://{self.host.address}:{PORT}", f"--host={self.socket}")
        # Its own network and nothing else: `ip netns exec` would hide the control groups.
        command = ["nsenter", f"--net=/run/netns/{self.host.name}", "dockerd", *named, *alone, *listening]
        with (self.folder / "dockerd.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            assert waiting.wait_for(self._answers, 60, every=0.2), (self.folder / "dockerd.log").read_text()[-2000:]
            yield
        finally:
            process.terminate()
            process.wait(60)
            for mount in reversed(self.mounts()):
                subprocess.run(["umount", mount], check=True)

    def mounts(self) -> list[str]:
        """What is mounted in its folder; a stopped engine leaves its own root."""
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return [place for place in places if place.startswith(f"{self.folder}/")]

    def _answers(self) -> bool | None:
        asking = ["docker", "--host", self.socket, "version"]
        return subprocess.run(asking, capture_output=True, check=False).returncode == 0 or None

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.socket, timeout=60)

    def take(self, engine: str, images: Sequence[str]) -> None:
        """Those of another engine's images that it has not yet."""
        with (
            contextlib.closing(docker.DockerClient(base_url=engine)) as theirs,
            contextlib.closing(self.client()) as own,
        ):
            had = {image.id for image in own.images.list()}
            missing = [name for name in images if theirs.images.get(name).id not in had]
        if missing:
            with subprocess.Popen(["docker", "--host", engine, "save", *missing], stdout=subprocess.PIPE) as saving:
                subprocess.run(["docker", "--host", self.socket, "load", "--quiet"], stdin=saving.stdout, check=True)
            assert saving.returncode == 0

    def left(self) -> list[Any]:
        """What it has of any run."""
        own: dict[str, str | list[str] | bool] = {"label": LABEL}
        with contextlib.closing(self.client()) as client:
            containers = client.containers.list(all=True, filters=own, ignore_removed=True)
            return [*containers, *client.networks.list(filters=own), *client.volumes.list(filters=own)]


def far_engine(host: Host, name: str) -> FarEngine:
    """The one that is kept under this name, on that host."""
    return FarEngine(host, Path(os.environ.get("TMPDIR", "/tmp")) / "connbench-test-hosts" / name)


def _make_certificate(folder: Path, address: str) -> None:
    """One for the engine and whoever asks it: each proves to have the key."""
    assert shutil.which("openssl"), "Debian's openssl"
    subject = ["-subj", "/CN=engine", "-addext", f"subjectAltName=IP:{address}"]
    files = ["-keyout", str(folder / KEY), "-out", str(folder / CERTIFICATE)]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)
