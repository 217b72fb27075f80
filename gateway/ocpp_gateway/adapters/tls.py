"""TLS of a listener: the suites that OCPP demands, RSA and ECDSA certificates side by side, reload without dropping sockets.

New certificates reach new handshakes through OpenSSL's server name callback, which runs for every client hello, also for
those without a name (many charge points send none). Sockets that stand keep what they negotiated.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ocpp_gateway.adapters.secret_files import fingerprint, refuse_password

log = logging.getLogger(__name__)

# OCPP 1.6 security whitepaper and OCPP 2.0.1 use case A00: the ECDHE suites, and TLS_RSA_WITH_AES_*_GCM for RSA
# keys, which Python's default leaves out for their lack of forward secrecy.
_MODERN = "ECDHE+AESGCM:ECDHE+CHACHA20"
_COMPATIBLE = _MODERN + ":AES128-GCM-SHA256:AES256-GCM-SHA384"

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsError(ValueError):
    """Certificates or keys cannot be used; says which file and why."""


class ListenerTls:
    """The TLS of one listener. `context` is what the socket layer gets; `reload_if_changed` is called now and then."""

    def __init__(
        self,
        certificates: Sequence[tuple[Path, Path]],
        *,
        modern: bool = False,
        minimum: Literal["1.2", "1.3"] = "1.2",
    ) -> None:
        self._certificates = tuple(certificates)
        self._files = tuple(path for pair in self._certificates for path in pair)
        self._modern = modern
        self._minimum = _VERSIONS[minimum]
        self._seen = fingerprint(self._files)
        self._current = self._load()
        self.context = self._load()
        self.context.sni_callback = self._choose

    def reload_if_changed(self) -> bool:
        """Take new files into use; True when that happened. Unusable ones are logged and the old certificates stay."""
        seen = fingerprint(self._files)
        if seen == self._seen:
            return False
        try:
            current = self._load()
        except TlsError as error:
            # Half-written: the files will change once more, so they are judged again then.
            log.error("new certificates are unusable, the old ones stay", extra={"reason": str(error)})
            self._seen = seen
            return False
        self._seen = seen
        self._current = current
        log.info("certificates reloaded", extra={"files": [str(chain) for chain, _ in self._certificates]})
        return True

    def _choose(self, socket: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        socket.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        context.set_ciphers(_MODERN if self._modern else _COMPATIBLE)
        # Renegotiation lets a client make the server work for free; compression leaks (CRIME).
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 1
        for chain, key in self._certificates:
            try:
                context.load_cert_chain(chain, key, password=refuse_password)
            except (OSError, ValueError) as error:
                raise TlsError(f"{chain} with {key}: {error}") from None
        return context
