import os
import tempfile
from pathlib import Path

import pytest

from rtot.system.secret_file import SecretFileError, read_secrets
from tests.world import secrets


def test_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"# the new one\nnew\r\n\n#disused\n  # too\n\t#\nold#\n   \n")
    path.chmod(0o600)
    assert read_secrets(str(path)) == secrets("new", "old#")
    path.write_bytes(b"only")
    assert read_secrets(str(path)) == secrets("only")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no secret in it"),
        (b"#a\n", "has no secret in it"),
        (b"\n \n", "has no secret in it"),
        (b"a\nb c\n", "line 2: an unknown role: want read, run or admin"),
        (b"a\n\nb c d e\n", "line 3: want SECRET"),
        (b"a read b/c", "line 1: a name is up to 64"),
        (b"a sha256:00", "line 1: an unknown role"),
        (b"sha256:b run", "line 1: of a digest, want sha256: and"),
        (b"a read\nb run\na run\n", "a secret is given twice"),
        (b"caf\xc3\xa9\n", "line 1: want printable ASCII"),
        (b"a\x0cb", "line 1: want printable ASCII"),
        (b"x" * 70_000, "larger than"),
    ],
)
def test_what_is_not_one(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretFileError, match=why) as caught:
        read_secrets(str(path))
    # Secrets are in no error.
    assert "b c" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o666, 0o644])
def test_what_others_may_read_or_write(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"x\n")
    path.chmod(mode)
    with pytest.raises(SecretFileError, match="others may read it"):
        read_secrets(str(path))


def test_a_group_may_read_what_is_root_s(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"x\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        assert read_secrets(str(path)) == secrets("x")
        os.chown(path, 12345, -1)
        with pytest.raises(SecretFileError, match="belongs to another user"):
            read_secrets(str(path))
    else:
        with pytest.raises(SecretFileError, match="others may read it"):
            read_secrets(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="no such file"):
        read_secrets(str(tmp_path / "missing"))
    with pytest.raises(SecretFileError, match="not a regular file"):
        read_secrets(str(tmp_path))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(SecretFileError, match="not a regular file"):
        read_secrets(str(fifo))


def test_roles_and_names(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"a\nb read\n c\trun  carol\r\nb read\n")
    path.chmod(0o600)
    found = read_secrets(str(path))
    assert [(c.role.word, c.name) for c in found.values()] == [
        ("admin", None),
        ("read", None),
        ("run", "carol"),
    ]


def test_a_file_that_cannot_be_read() -> None:
    # Its first page is never mapped.
    with pytest.raises(SecretFileError, match="input/output error"):
        read_secrets("/proc/self/mem")


def test_the_largest_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.touch(0o600)
    path.write_bytes(b"secret\n" + b"\n" * (65536 - 7))
    assert read_secrets(str(path)) == secrets("secret")
    path.write_bytes(b"secret\n" + b"\n" * (65536 - 6))
    with pytest.raises(SecretFileError, match="larger than 65536 bytes"):
        read_secrets(str(path))


def test_no_group_may_read_what_is_a_user_s() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "secrets"
        path.write_bytes(b"x\n")
        path.chmod(0o640)
        if os.geteuid() == 0:
            Path(name).chmod(0o711)
            os.chown(path, 12345, -1)
            os.seteuid(12345)
        try:
            with pytest.raises(SecretFileError, match="others may read it"):
                read_secrets(str(path))
            path.chmod(0o600)
            assert read_secrets(str(path)) == secrets("x")
        finally:
            os.seteuid(os.getuid())
