from hashlib import sha256

import pytest

from rtot.credentials import (
    Credential,
    Role,
    collect,
    digest,
    is_name,
    is_secret,
    line_of,
    parse_credential,
    parse_role,
)

HEX = sha256(b"abc").hexdigest()
ABC = bytes.fromhex(HEX)


def test_the_digest_is_everybody_s() -> None:
    assert digest(b"abc") == ABC


@pytest.mark.parametrize(
    ("line", "credential"),
    [
        ("abc", Credential(ABC, Role.ADMIN, None)),
        ("abc read", Credential(ABC, Role.READ, None)),
        ("abc run alice", Credential(ABC, Role.RUN, "alice")),
        (" abc\tadmin   ci@build-1.example ", Credential(ABC, Role.ADMIN, "ci@build-1.example")),
        (f"sha256:{HEX} read", Credential(ABC, Role.READ, None)),
        (f"sha256:{HEX.upper()}", Credential(ABC)),
        # No prefix, no digest.
        (HEX, Credential(sha256(HEX.encode()).digest())),
    ],
)
def test_lines(line: str, credential: Credential) -> None:
    assert parse_credential(line) == credential
    assert parse_credential(line_of(credential)) == credential


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hunter2 battery", "an unknown role: want read, run or admin"),
        ("hunter2 READ", "an unknown role: want read, run or admin"),
        ("hunter2 read hunter2!", "a name is up to 64"),
        ("hunter2 read -x", "a name is up to 64"),
        ("hunter2 run a b", r"want SECRET \[ROLE \[NAME\]\]"),
        ("", "want printable ASCII"),
        ("hunter\xe9", "want printable ASCII"),
        ("hunter2 read \x7f", "want printable ASCII"),
        ("hunter2\x0bread", "want printable ASCII"),
        ("sha256:", "of a digest, want sha256: and 64"),
        (f"SHA256:{HEX}", "of a digest"),
        (f"hunter2sha256:{HEX} read", "of a digest"),
        (f"sha512:{HEX}{HEX}", "of a digest"),
        (f"sha256:{HEX}0", "of a digest, want sha256: and 64"),
        (f"sha256:{HEX[:-1]}g", "of a digest, want sha256: and 64"),
        (f"sha256:{sha256(b'').hexdigest()}", "the digest of nothing"),
    ],
)
def test_what_is_no_line(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_credential(line)
    assert "hunter" not in str(caught.value)
    assert HEX[:-1] not in str(caught.value)


def test_a_secret_stands_for_one_thing() -> None:
    one, other = parse_credential("abc read"), parse_credential("abd")
    assert collect([one, other, one]) == {one.digest: one, other.digest: other}
    with pytest.raises(ValueError, match="twice"):
        collect([one, parse_credential(f"sha256:{HEX} run")])


def test_roles_are_in_order() -> None:
    assert Role.READ < Role.RUN < Role.ADMIN
    assert [parse_role(role.word) for role in Role] == list(Role)


def test_what_a_secret_is() -> None:
    assert is_secret("aB3!~")
    assert not any(map(is_secret, ("", "a b", "a\n", "\xe9", "a\x7f")))


def test_what_a_name_is() -> None:
    assert all(map(is_name, ("a", "Alice", "ci@x.y", "a+b_c-d", "0", "x" * 64)))
    assert not any(map(is_name, ("", "-", ".a", "a b", "a\n", "\xe9", "x" * 65, "a/b", "a,b")))
