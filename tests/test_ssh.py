"""What calls ssh. What may be called is in tests/load/test_entries.py."""

import pytest

from runner import ssh
from runner.ssh import SshTarget


def test_what_ssh_is_called_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SshTarget("east-1").arguments == ["east-1"]
    assert SshTarget("east-1", "bench", 2222).arguments == ["-p", "2222", "bench@east-1"]
    monkeypatch.delenv(ssh.VARIABLE, raising=False)
    assert SshTarget("east-1").command("uname -a") == ["ssh", *ssh.OPTIONS, "east-1", "uname -a"]
    monkeypatch.setenv(ssh.VARIABLE, "ssh -F 'my config'")
    assert SshTarget("east-1").command("true")[:3] == ["ssh", "-F", "my config"]
