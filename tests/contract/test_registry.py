"""Keys of the registry topic; records have golden files, hashes are tested where logins are."""

from __future__ import annotations

import pytest

from ocpp_contract.credentials import CredentialError, hash_key, verify
from ocpp_contract.errors import ContractError
from ocpp_contract.ids import ChargePointId
from ocpp_contract.registry import credential_key, parse_key, record_key

CP = ChargePointId("CP:1 ä")


def test_keys_are_read_as_they_are_written() -> None:
    assert parse_key(record_key(CP)) == (CP, False)
    assert parse_key(credential_key(CP)) == (CP, True)


@pytest.mark.parametrize("key", [None, b"", b"/credential", b"\xff", b"a/b", b"a/credential/credential", b"{a}"])
def test_foreign_keys_are_refused(key: bytes | None) -> None:
    with pytest.raises(ContractError):
        parse_key(key)


def test_a_hash_names_its_algorithm_and_hides_the_key() -> None:
    stored = hash_key(b"correct horse battery", bytes(range(16)))
    assert stored == "hmac-sha256$AAECAwQFBgcICQoLDA0ODw$MoAl/Uc/S5yA9eKRLgRry5qUCb5MRHeqmIwaQqekvHA"
    assert verify(b"correct horse battery", stored)
    assert not verify(b"correct horse batterz", stored)


def test_a_short_key_is_not_stored() -> None:
    with pytest.raises(CredentialError):
        hash_key(b"short", bytes(16))
