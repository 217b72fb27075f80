"""What a secret's file holds now, or the last of it that was of use."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from ocpp_gateway.adapters.secret_files import UnusableFile, followed_authorities, followed_context, followed_text


def secret_volume(folder: Path, **contents: str) -> None:
    """As the kubelet does it: all files of a Secret turn over at once, by a link to another folder."""
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, content in contents.items():
        (version / name).write_text(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(version.name)
    os.replace(folder / "..new", folder / "..data")


def test_a_turned_volume_is_seen_at_once(tmp_path: Path) -> None:
    secret_volume(tmp_path, password="one")
    followed = followed_text(tmp_path / "password")
    assert followed.now() == "one"
    secret_volume(tmp_path, password="two\n")
    assert followed.now() == "two"


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", b"\xff\xfe", b"a\0b", None])
def test_what_is_of_no_use_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    followed = followed_text(file)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert [followed.now() for _ in range(3)] == ["one"] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    file.write_text("three")
    assert followed.now() == "three"


@pytest.mark.parametrize("content", ["", "two\nlines", None])
def test_a_start_without_a_usable_file_names_it(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnusableFile, match="password") as caught:
        followed_text(file)
    assert "lines" not in str(caught.value).replace("more than one line", "")


def test_a_half_written_certificate_changes_nothing(tmp_path: Path) -> None:
    ca, authority = tmp_path / "ca.crt", trustme.CA()
    authority.cert_pem.write_to_path(ca)
    pem = followed_authorities(ca)
    context = followed_context(ca)
    first = pem.now(), context.now()
    ca.write_text(ca.read_text()[:200])
    assert (pem.now(), context.now()) == first
    ca.write_text("")
    assert (pem.now(), context.now()) == first
    trustme.CA().cert_pem.write_to_path(ca)
    assert pem.now() == ca.read_text().strip() != first[0]
    assert context.now() is not first[1]


def test_a_certificate_counts_once_its_key_is_there_too(tmp_path: Path) -> None:
    old, new = (trustme.CA().issue_cert("gateway@example.org") for _ in range(2))
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    old.cert_chain_pems[0].write_to_path(chain)
    old.private_key_pem.write_to_path(key)
    followed = followed_context(None, chain, key)
    context = followed.now()
    new.cert_chain_pems[0].write_to_path(chain)
    assert followed.now() is context, "the new certificate with the old key is no pair"
    new.private_key_pem.write_to_path(key)
    assert followed.now() is not context


def test_names_are_checked_and_old_tls_is_refused(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    context = followed_context(tmp_path / "ca.crt").now()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
