"""A server's own certificate."""

import shutil
import ssl
from contextlib import closing

import pytest

from runner.errors import EnvironmentUnfit
from runner.provision.native import NativeProvider
from runner.stacks.databases.certificate import make_certificate


def test_it_is_for_loopback_and_its_key_is_private() -> None:
    with closing(NativeProvider()) as provider:
        made = make_certificate(provider.private_folder("server", unprivileged=True))
        assert made.key.stat().st_mode & 0o077 == 0
        assert made.key.stat().st_uid == made.path.parent.stat().st_uid
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.path, made.key)
        trusting = ssl.create_default_context(cafile=str(made.path))
        (known,) = trusting.get_ca_certs()
        assert ("IP Address", "127.0.0.1") in known["subjectAltName"]


def test_what_is_missing_is_said_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with closing(NativeProvider()) as provider, pytest.raises(EnvironmentUnfit, match="apt-get install openssl"):
        make_certificate(provider.folder)
