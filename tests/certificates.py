"""Certificates for tests: an authority, and what it has signed, by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.tools import need


@dataclass(frozen=True)
class Certificates:
    """`server` and `client` hold a certificate and its key; both are signed by `ca`."""

    place: Path

    @property
    def ca(self) -> Path:
        return self.place / "ca.pem"

    @property
    def server(self) -> Path:
        return self.place / "server.pem"

    @property
    def client(self) -> Path:
        return self.place / "client.pem"

    def sign(self, name: str, subject: str, *extra: str) -> None:
        """Make `name`.pem for a subject, signed by the authority."""
        key, request, certificate = (self.place / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        self._openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={subject}"
        )
        (self.place / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        ca = ("-CA", self.place / "ca.crt", "-CAkey", self.place / "ca.key", "-CAcreateserial")
        self._openssl(
            "x509", "-req", "-in", request, *ca, "-days", "30", "-out", certificate, "-extfile", self.place / "ext"
        )
        (self.place / f"{name}.pem").write_text(certificate.read_text() + key.read_text())

    def _openssl(self, *words: object) -> None:
        subprocess.run([need("openssl"), *map(str, words)], check=True, capture_output=True)

    @classmethod
    def make(cls, place: Path) -> "Certificates":
        """An authority, a server for localhost and 127.0.0.1, and a client."""
        made = cls(place)
        key, certificate = place / "ca.key", place / "ca.crt"
        made._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "30"),
            *("-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        made.ca.write_text(certificate.read_text())
        made.sign("server", "localhost")
        made.sign("client", "a client")
        return made
