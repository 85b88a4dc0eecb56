import pytest

from rtot.cli.errors import UsageError
from rtot.cli.secret import line_for, new_secret
from rtot.credentials import Credential, Role, digest, parse_credential


def test_a_new_secret() -> None:
    secret = new_secret()
    assert len(bytes.fromhex(secret)) == 20
    assert new_secret() != secret


@pytest.mark.parametrize(
    ("words", "role", "name"),
    [
        ([], Role.ADMIN, None),
        (["read"], Role.READ, None),
        (["run", "alice"], Role.RUN, "alice"),
    ],
)
def test_its_line(words: list[str], role: Role, name: str | None) -> None:
    line = line_for("hunter2", words)
    assert line.startswith("sha256:")
    assert parse_credential(line) == Credential(digest(b"hunter2"), role, name)


@pytest.mark.parametrize(
    "words", [["reed"], ["read", "a b"], ["read", "a", "b"], ["-x"], [""], ["read", ""]]
)
def test_mistakes(words: list[str]) -> None:
    with pytest.raises(UsageError, match="secret: "):
        line_for("hunter2", words)
