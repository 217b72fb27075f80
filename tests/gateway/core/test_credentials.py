"""Basic authentication as stations really send it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpp_contract.credentials import CredentialError, canonical, hash_key, verify
from ocpp_gateway.core.credentials import BasicFault, check_basic

SALT = bytes(range(16))
RAW = bytes.fromhex("00ff3a803a0d0a7f" * 2 + "c3282020")  # a colon, a null, no UTF-8
TEXT = b"correct:horse:battery"


def header(user: str | bytes, key: bytes, *, scheme: str = "Basic", padding: bool = True) -> str:
    name = user.encode() if isinstance(user, str) else user
    encoded = base64.b64encode(name + b":" + key).decode()
    return f"{scheme} {encoded if padding else encoded.rstrip('=')}"


@given(st.binary(min_size=16, max_size=40), st.binary(min_size=16, max_size=16))
def test_what_was_hashed_verifies(key: bytes, salt: bytes) -> None:
    stored = hash_key(key, salt)
    assert stored.startswith("hmac-sha256$")
    assert verify(key, stored)
    assert not verify(key + b"x", stored)
    assert key not in stored.encode()


def test_the_same_key_with_another_salt_is_another_hash() -> None:
    assert hash_key(RAW, SALT) != hash_key(RAW, SALT[::-1])


@given(st.binary(min_size=16, max_size=40))
def test_hex_and_raw_form_are_one_key(key: bytes) -> None:
    for form in (key.hex().encode(), key.hex().upper().encode()):
        assert verify(form, hash_key(key, SALT))
        assert verify(key, hash_key(form, SALT))
    assert canonical(key.hex().encode()) == key


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 15, b"x" * 65])
def test_keys_that_the_fast_hash_cannot_protect_are_not_stored(key: bytes) -> None:
    with pytest.raises(CredentialError):
        hash_key(key, SALT)


def test_an_error_never_shows_the_key() -> None:
    with pytest.raises(CredentialError) as error:
        hash_key(b"geheim", SALT)
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize("stored", ["", "scrypt$a$b", "hmac-sha256$!!$!!", "plain"])
def test_a_hash_of_another_kind_is_an_error_and_no_match(stored: str) -> None:
    with pytest.raises(CredentialError):
        verify(RAW, stored)


CASES = {
    "raw bytes with a colon and without UTF-8": ("CP1", header("CP1", RAW), [RAW], None, 0),
    "text with colons": ("CP1", header("CP1", TEXT), [TEXT], None, 0),
    "hex of a raw key": ("CP1", header("CP1", RAW.hex().encode()), [RAW], None, 0),
    "an id with a colon": ("DE:CP1", header("DE:CP1", RAW), [RAW], None, 0),
    "an id outside ASCII": ("Ladesäule", header("Ladesäule", RAW), [RAW], None, 0),
    "no padding": ("CP1", header("CP1", TEXT, padding=False), [TEXT], None, 0),
    "scheme in odd case": ("CP1", header("CP1", RAW, scheme="bAsIc"), [RAW], None, 0),
    "the new key while both are stored": ("CP1", header("CP1", RAW), [TEXT, RAW], None, 1),
    "the old key while both are stored": ("CP1", header("CP1", TEXT), [TEXT, RAW], None, 0),
    "wrong key": ("CP1", header("CP1", b"y" * 20), [RAW], BasicFault.WRONG_KEY, None),
    "empty key": ("CP1", header("CP1", b""), [RAW], BasicFault.WRONG_KEY, None),
    "another identity": ("CP1", header("CP2", RAW), [RAW], BasicFault.OTHER_IDENTITY, None),
    "an identity that only begins alike": ("CP1", header("CP11", RAW), [RAW], BasicFault.OTHER_IDENTITY, None),
    "no header": ("CP1", None, [RAW], BasicFault.MISSING, None),
    "another scheme": ("CP1", "Bearer abc", [RAW], BasicFault.MALFORMED, None),
    "no base64": ("CP1", "Basic §§§", [RAW], BasicFault.MALFORMED, None),
    "nothing behind the scheme": ("CP1", "Basic", [RAW], BasicFault.MALFORMED, None),
    "no colon at all": ("CP1", "Basic " + base64.b64encode(b"CP1").decode(), [RAW], BasicFault.MALFORMED, None),
    "nothing stored": ("CP1", header("CP1", RAW), [], BasicFault.NOTHING_STORED, None),
}


@pytest.mark.parametrize(("station", "authorization", "keys", "fault", "matched"), CASES.values(), ids=CASES)
def test_basic(
    station: str, authorization: str | None, keys: list[bytes], fault: BasicFault | None, matched: int | None
) -> None:
    result = check_basic(authorization, station, tuple(hash_key(key, SALT) for key in keys))
    assert (result.fault, result.matched) == (fault, matched)


@pytest.mark.parametrize(("sent", "hexadecimal"), [(RAW, False), (RAW.hex().encode(), True), (b"z" * 20, False)])
def test_a_key_that_came_as_hex_text_is_told(sent: bytes, hexadecimal: bool) -> None:
    assert check_basic(header("CP1", sent), "CP1", (hash_key(RAW, SALT),)).hexadecimal is hexadecimal


def test_an_unreadable_hash_does_not_hide_the_good_one() -> None:
    result = check_basic(header("CP1", RAW), "CP1", ("argon2$future", hash_key(RAW, SALT)))
    assert (result.fault, result.matched, result.unreadable) == (None, 1, 1)


@given(st.text(max_size=60))
def test_no_header_crashes_it(text: str) -> None:
    for authorization in (text, f"Basic {text}"):
        assert check_basic(authorization, "CP1", (hash_key(RAW, SALT),)).fault is not None
