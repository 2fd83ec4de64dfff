"""TLS: what is spoken, who is trusted, certificates that change, and connections that never agree."""

import asyncio
import shutil
import socket
import ssl
import time
import warnings
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from supervise.api import tls
from supervise.client import Client
from supervise.config.model import ServerConfig
from supervise.http1 import ServerError, Trust, secured
from tests.certificates import Certificates
from tests.daemons import Daemon, Supervisors
from tests.tools import free_ports, wait_for

PROGRAMS = "[program:cat]\ncommand = cat\nstartsecs = 0\n"


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors, certificates: Certificates, ports: list[int]) -> Daemon:
    place = shared_supervisors.place()
    shutil.copy(certificates.server, place / "server.pem")
    servers = f"""
[inet_http_server]
port = 127.0.0.1:{ports[0]}
certfile = {place}/server.pem
username = u
password = p
[inet_http_server:mutual]
port = 127.0.0.1:{ports[1]}
certfile = {place}/server.pem
client_ca = {certificates.ca}
"""
    return shared_supervisors.start("supervise", PROGRAMS + servers, place=place)


def trusting(certificates: Certificates, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if client:
        context.load_cert_chain(certificates.client)
    return context


def test_xmlrpc_over_https(daemon: Daemon, ports: list[int], certificates: Certificates) -> None:
    url = f"https://u:p@localhost:{ports[0]}/RPC2"
    rpc: Any = xmlrpc.client.ServerProxy(url, context=trusting(certificates))
    with rpc:
        assert rpc.supervisor.getPID() == daemon.pid
        assert rpc.supervisor.getProcessInfo("cat")["name"] == "cat"


def test_the_client(daemon: Daemon, ports: list[int], certificates: Certificates) -> None:
    url = f"https://localhost:{ports[0]}"
    ours = Client(url, "u", "p", trust=Trust(ca=str(certificates.ca)))
    assert ours.daemon()["pid"] == daemon.pid
    with pytest.raises(ServerError, match=r"cannot be trusted: (unable to get local issuer|self)"):
        Client(url, "u", "p").daemon()
    with pytest.raises(ServerError, match="cannot be trusted: IP address mismatch"):
        _mismatched(ports[0], certificates)


def _mismatched(port: int, certificates: Certificates) -> None:
    """The right authority, but the certificate of another host."""
    link = socket.create_connection(("127.0.0.1", port), 10)
    secured(link, "https://192.0.2.1", "192.0.2.1", Trust(ca=str(certificates.ca)))


def test_supervisectl(daemon: Daemon, ports: list[int], certificates: Certificates) -> None:
    words = ("-s", f"https://localhost:{ports[0]}", "-u", "u", "-p", "p", "pid")
    assert "cannot be trusted" in daemon.ctl(*words).stdout
    daemon.env["SUPERVISE_CA"] = str(certificates.ca)
    assert daemon.ctl(*words).stdout == f"{daemon.pid}\n"
    mutual = ("-s", f"https://localhost:{ports[1]}", "status", "cat")
    assert daemon.ctl(*mutual).returncode != 0
    daemon.env["SUPERVISE_CERT"] = str(certificates.client)
    assert "cat" in daemon.ctl(*mutual).stdout
    config = daemon.place / "client.conf"
    config.write_text(
        f"[supervisorctl]\nserverurl = https://localhost:{ports[1]}\nca = {certificates.ca}\n"
        f"certfile = {certificates.client}\n"
    )
    for name in ("SUPERVISE_CA", "SUPERVISE_CERT"):
        del daemon.env[name]
    own, daemon.config = daemon.config, config
    assert daemon.ctl("pid").stdout == f"{daemon.pid}\n"
    daemon.config = own


def test_only_with_a_certificate_of_ours(daemon: Daemon, ports: list[int], certificates: Certificates) -> None:
    url = f"https://localhost:{ports[1]}/RPC2"
    with xmlrpc.client.ServerProxy(url, context=trusting(certificates, client=True)) as rpc:
        assert rpc.supervisor.getPID() == daemon.pid
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        xmlrpc.client.ServerProxy(url, context=trusting(certificates)) as rpc,
    ):
        rpc.supervisor.getPID()
    assert "'inet_http_server:mutual' running without" not in daemon.log


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_no_old_tls(ports: list[int], daemon: Daemon, certificates: Certificates, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    with socket.create_connection(("127.0.0.1", ports[0]), 10) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock, server_hostname="localhost")


def test_what_is_no_tls_disturbs_nobody(daemon: Daemon, ports: list[int], certificates: Certificates) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 700, b"\x00" * 100000, b""):
        with socket.create_connection(("127.0.0.1", ports[0]), 10) as sock:
            try:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except ConnectionError:
                pass
    assert Client(f"https://localhost:{ports[0]}", "u", "p", trust=Trust(ca=str(certificates.ca))).daemon()
    assert "Traceback" not in daemon.log


def test_connections_that_never_agree_keep_nobody_out(
    daemon: Daemon, ports: list[int], certificates: Certificates
) -> None:
    silent = [socket.create_connection(("127.0.0.1", ports[0]), 30) for _ in range(400)]
    try:
        ours = Client(f"https://localhost:{ports[0]}", "u", "p", trust=Trust(ca=str(certificates.ca)))
        assert ours.daemon()["pid"] == daemon.pid
        assert len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) < 380
    finally:
        for sock in silent:
            sock.close()


def test_a_request_in_the_same_packet_as_the_handshake(
    daemon: Daemon, ports: list[int], certificates: Certificates
) -> None:
    """TLS 1.3 lets a client send its request with its last handshake message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls_object = trusting(certificates).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", ports[0]), 10) as sock:
        while True:
            try:
                tls_object.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls_object.write(b"GET /ok.html HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dTpw\r\n\r\n")
        sock.sendall(outgoing.read())  # Finished and the request
        answer = b""
        while b"\r\n\r\n" not in answer:
            incoming.write(sock.recv(65536))
            try:
                answer += tls_object.read(65536)
            except ssl.SSLWantReadError:
                continue
        assert answer.startswith(b"HTTP/1.1 200")


def serial(port: int, certificates: Certificates) -> str:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as sock,
        trusting(certificates).wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        found: Any = secure.getpeercert()
        return str(found["serialNumber"])


def test_a_reload_takes_a_new_certificate(daemon: Daemon, ports: list[int], certificates: Certificates) -> None:
    before = serial(ports[0], certificates)
    certificates.sign("renewed", "localhost")
    shutil.copy(certificates.place / "renewed.pem", daemon.place / "server.pem")
    assert serial(ports[0], certificates) == before
    assert daemon.ctl("reload", "--wait").returncode == 0
    wait_for(lambda: serial(ports[0], certificates) != before, "the new certificate")
    (daemon.place / "server.pem").write_text("nonsense")
    done = daemon.ctl("reload")
    assert "no TLS with" in done.stdout
    assert serial(ports[0], certificates) != before  # refused as a whole, and everything goes on
    shutil.copy(certificates.server, daemon.place / "server.pem")


def test_plain_text_is_no_context() -> None:
    assert tls.context(ServerConfig(kind="inet", section="inet_http_server")) is None


def test_a_handshake_has_its_time(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.2)

    async def story() -> None:
        loop, lost, made = asyncio.get_running_loop(), asyncio.Event(), list[object]()
        config = ServerConfig(kind="inet", section="inet_http_server", certfile=str(certificates.server))
        context = tls.context(config)
        assert context is not None
        server = await loop.create_server(
            lambda: tls.Greeter(made.append, lambda _: lost.set(), asyncio.Protocol, context), "127.0.0.1", 0
        )
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        assert 0.1 < time.monotonic() - begun < 30
        await lost.wait()
        assert len(made) == 1
        writer.close()
        server.close()

    asyncio.run(asyncio.wait_for(story(), 60))
