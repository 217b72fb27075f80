"""Secrets in files that somebody rotates: what a file holds now, or the last of it that was of use.

Kubernetes turns a Secret's files over at once (a link to another folder), other tools write in place, so a file may be absent or
half-written when it is looked at. Nobody watches: whoever is about to connect asks, which costs a stat() per file while
nothing changed. Connections that stand keep what they were made with.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class UnusableFile(ValueError):
    """A secret's file is absent or holds nonsense; says which and why, never its content."""


class Followed(Generic[T]):
    """What `load` makes of `files`. Made with unusable files it raises UnusableFile; later ones never replace what was of use."""

    def __init__(self, files: Sequence[Path], load: Callable[[], T]) -> None:
        self._files = tuple(files)
        self._load = load
        self._seen = fingerprint(self._files)
        self._good = load()

    def now(self) -> T:
        """Never raises. Unusable files are logged once per change of theirs."""
        seen = fingerprint(self._files)  # before reading: what is written meanwhile is another fingerprint next time
        if seen != self._seen:
            self._seen = seen
            names = [str(path) for path in self._files]
            try:
                self._good = self._load()
            except UnusableFile as error:
                log.error("a rotated secret is unusable, the old one stays", extra={"reason": str(error)})
            else:
                log.info("secret read anew", extra={"files": names})
        return self._good


def fingerprint(files: Sequence[Path]) -> tuple[object, ...]:
    """What changes when a file is written anew or a Secret's link is turned to another folder."""
    marks: list[object] = []
    for path in files:
        try:
            status = path.stat()
        except OSError as error:
            marks.append(error.errno)
        else:
            marks.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(marks)


def followed_text(path: Path) -> Followed[str]:
    """A password, or the value of a header: one line, without the white space around it."""
    return Followed((path,), lambda: _line(path))


def followed_authorities(path: Path) -> Followed[str]:
    """Certificates of authorities (PEM)."""
    return Followed((path,), lambda: _authorities(path))


def followed_context(
    ca_file: Path | None, certificate_file: Path | None = None, key_file: Path | None = None
) -> Followed[ssl.SSLContext]:
    """TLS of a client: the server's name is checked, by the system's authorities without `ca_file`; with a certificate ours
    is shown (mutual TLS). The key may stand in the certificate's file."""
    files = [path for path in (ca_file, certificate_file, key_file) if path is not None]
    return Followed(files, lambda: _context(ca_file, certificate_file, key_file))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        )  # not str(error): that shows bytes of it
        raise UnusableFile(f"{path}: {reason}") from None


def _line(path: Path) -> str:
    text = _read(path)
    if not text:
        raise UnusableFile(f"{path} is empty")
    if not text.isprintable():
        raise UnusableFile(f"{path} holds more than one line, or control characters")
    return text


def _authorities(path: Path) -> str:
    text = _read(path)
    if not text:
        raise UnusableFile(f"{path} is empty")  # the ssl module would trust the system's authorities instead
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise UnusableFile(f"{path} is no PEM certificate: {error}") from None
    return text


def _context(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=_authorities(ca_file) if ca_file is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        try:
            context.load_cert_chain(certificate_file, key_file, password=refuse_password)
        except (OSError, ValueError) as error:
            raise UnusableFile(f"{certificate_file} with {key_file or 'its key'}: {error}") from None
    return context


def refuse_password() -> str:
    """For `load_cert_chain`, which would ask at the terminal."""
    raise ValueError("the key is encrypted; passwords are not supported")
