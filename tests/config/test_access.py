"""Users, roles, groups and certificates in a configuration."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from supervise.config.access import Role, role
from supervise.config.load import Examination
from supervise.config.model import ServerConfig, UserConfig
from supervise.config.show import as_json
from tests.certificates import Certificates

Look = Callable[..., Examination]
STORED = "{SCRYPT}1024$8$1$c2FsdHNhbHRzYWx0c2FsdA==$EUtJYclphsDTwc6bQk0Yr52xvlbd1Dil1u4Xz2ASk5Q="


EMPTY = "an empty password lets in whoever knows the name; write what `supervise passwd` prints"


def messages(found: Examination) -> list[str]:
    return [error.message for error in found.errors]


def test_roles_include_each_other() -> None:
    assert Role.READ < Role.CONTROL < Role.ADMIN
    assert [role(" Read "), role("CONTROL"), str(role("admin"))] == [Role.READ, Role.CONTROL, "admin"]
    with pytest.raises(ValueError, match="expected read, control or admin, not 'root'"):
        role("root")


@pytest.mark.parametrize("name", ["s.conf", "s.toml"])
def test_users(look: Look, name: str) -> None:
    ini = f"[user:ann]\npassword = {STORED}\nrole = admin\n[user:bob]\npassword = %(ENV_COLOR)s\nrole = read\n"
    toml = f'[user]\nann = {{ password = "{STORED}", role = "admin" }}\n[user.bob]\npassword = "%(ENV_COLOR)s"\n'
    found = look((ini if name == "s.conf" else toml + 'role = "read"\n[supervisord]\n'), name)
    assert found.errors == ()
    assert found.warnings == ()
    assert found.config is not None
    assert found.config.users == (
        UserConfig(name="ann", password=STORED, role=Role.ADMIN),
        UserConfig(name="bob", password="dark 100%", role=Role.READ),
    )
    shown = str(as_json(found.config))
    assert STORED not in shown
    assert "dark 100%" not in shown
    assert "'name': 'ann', 'role': 'admin'" in shown


@pytest.mark.parametrize(
    "text, message",
    [
        ("[user:a]\nrole = read\n", "section [user:a] has no password"),
        ("[user:a]\npassword = x\n", "section [user:a] has no role"),
        ("[user:a]\npassword = x\nrole = root\n", "expected read, control or admin, not 'root'"),
        ("[user:a:b]\npassword = x\nrole = read\n", "'a:b' cannot be the name of a user"),
        ("[user:]\npassword = x\nrole = read\n", "'' cannot be the name of a user"),
        (
            "[user:a]\npassword = {SCRYPT}1$2\nrole = read\n",
            "not a password as `supervise passwd` prints it: {SCRYPT}n$r$p$salt$hash",
        ),
        ("[user:a]\npassword =\nrole = admin\n", EMPTY),
        ("[user:a]\npassword = {SHA}da39a3ee5e6b4b0d3255bfef95601890afd80709\nrole = read\n", EMPTY),
        ("[unix_http_server]\nfile = /x\nread_groups = nobodys\n", "Invalid group name nobodys"),
        ("[inet_http_server]\nport = 1\nkeyfile = /k\n", "needs a certfile"),
        (
            "[unix_http_server]\nfile = /x\npam_service = login\n",
            "nobody would have a role: set admin_groups or others",
        ),
    ],
)
def test_what_cannot_be(look: Look, text: str, message: str) -> None:
    assert message in messages(look(text, resolve=lambda spec: spec))


@pytest.mark.parametrize("section", ["[user:a]\nrole = read\n", "[inet_http_server]\nport = 1\nusername = a\n"])
def test_what_nobody_will_type_is_doubted(look: Look, section: str) -> None:
    found = look(f"{section}password = $2b$12$abcdefgh\n")
    assert not found.errors
    (warning,) = found.warnings
    assert (warning.option, "supervise passwd" in warning.message) == ("password", True)
    assert not look(f"{section}password = {STORED}\n").warnings


def test_groups_are_numbers(look: Look) -> None:
    found = look("[unix_http_server]\nfile = /x\nadmin_groups = alice, 33\nread_groups = root\n")
    assert found.config is not None
    server = found.config.servers[0]
    assert (server.admin_groups, server.control_groups, server.read_groups) == ((1000, 33), (), (0,))
    assert server.knows_locals


def test_users_are_numbers(look: Look) -> None:
    found = look("[unix_http_server]\nfile = /x\nread_users = alice, 33\n")
    assert found.config is not None
    assert found.config.servers[0].read_users == (1000, 33)
    assert found.config.servers[0].knows_locals
    wrong = look("[unix_http_server]\nfile = /x\nadmin_users = stranger\n")
    assert "Invalid user name stranger" in messages(wrong)


def test_the_greatest_role_counts() -> None:
    users = ServerConfig(kind="unix", section="unix_http_server", admin_users=(7,), read_users=(8, 9))
    server = replace(users, admin_groups=(1,), control_groups=(2, 3), read_groups=(3, 4))
    asked = [(0, {1, 4}), (0, {3}), (0, {4, 9}), (0, {9}), (0, set()), (7, {4}), (8, {9}), (9, {2}), (None, set())]
    found = [server.role_of(uid, frozenset(gids)) for uid, gids in asked]
    assert found[:5] == [Role.ADMIN, Role.CONTROL, Role.READ, None, None]
    assert found[5:] == [Role.ADMIN, Role.READ, Role.CONTROL, None]


def test_groups_on_a_port_mean_nothing_alone(look: Look) -> None:
    found = look("[inet_http_server]\nport = 127.0.0.1:9001\nread_groups = root\n")
    assert [warning.message for warning in found.warnings] == ["means nothing here without pam_service"]


def test_local_users_need_root_and_the_package(look: Look) -> None:
    text = "[unix_http_server]\nfile = /x\npam_service = login\nread_groups = root\n"

    def missing(spec: str) -> object:
        raise ImportError(f"No module named {spec!r}")

    assert look(text, resolve=lambda spec: spec).errors == ()
    (message,) = messages(look(text, resolve=missing))
    assert "pip install 'supervise[pam]'" in message
    only_root = ["only a daemon that runs as root can check the passwords of local users"]
    assert messages(look(text, resolve=lambda spec: spec, uid=1000)) == only_root
    assert messages(look(f"{text}[supervisord]\nuser = alice\n", resolve=lambda spec: spec)) == only_root


def test_certificates(look: Look, certificates: Certificates, tmp_path: Path) -> None:
    text = f"[inet_http_server]\nport = 9001\ncertfile = {certificates.server}\nclient_ca = {certificates.ca}\n"
    found = look(text)
    assert (found.errors, found.config and found.config.servers[0].url) == ((), "https://localhost:9001")
    assert "no TLS with /nowhere: [Errno 2]" in messages(look("[inet_http_server]\nport = 1\ncertfile = /nowhere\n"))[0]
    (tmp_path / "no.pem").write_text("nonsense")
    assert "no TLS with" in messages(look(f"[inet_http_server]\nport = 1\ncertfile = {tmp_path}/no.pem\n"))[0]
