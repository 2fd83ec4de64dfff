"""What a configuration may ask of the machine it is read on. An argument everywhere, so that tests describe another."""

import dataclasses
import grp
import importlib
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervise.config.problems import NotHere

STOCK_INTERFACE = "supervisor.rpcinterface:make_main_rpcinterface"
STOCK_FACTORIES = frozenset({STOCK_INTERFACE, "supervisor.dispatchers:default_handler"})


def _import(spec: str) -> object:
    """The object that `module:attribute.path` names. Raises ImportError or AttributeError."""
    module, colon, path = spec.partition(":")
    if not (module and colon and path):
        raise ImportError(f"{spec!r} is not of the form module:name")
    found: object = importlib.import_module(module.strip())
    for name in path.strip().split("."):
        found = getattr(found, name)
    return found


def _user_id(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _group_id(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def _known_uid(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return False
    return True


def _known_gid(gid: int) -> bool:
    try:
        grp.getgrgid(gid)
    except (KeyError, OverflowError):
        return False
    return True


def _primary_group(uid: int) -> int:
    return pwd.getpwuid(uid).pw_gid


def _writable(path: str) -> bool:
    return os.access(path if os.path.exists(path) else os.path.dirname(path) or ".", os.W_OK)


def _certificate(certfile: str, keyfile: str | None, client_ca: str | None) -> None:
    """Raise OSError (ssl.SSLError is one) or ValueError unless a server could be made of these files."""
    import ssl  # noqa: PLC0415  # 10 ms that only TLS is worth

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile, keyfile, password="")  # else it would ask for one on the terminal
    if client_ca:
        context.load_verify_locations(client_ca)


def _tempdir() -> str:
    """Where temporary files go; where nothing can be written (a read-only container), where they would."""
    import tempfile  # noqa: PLC0415  # 3 ms before the first program, and most configurations do not ask

    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/tmp"


def _node() -> str:
    return os.uname().nodename


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The defaults are this machine, now. The callables raise KeyError for what does not exist."""

    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    node: str = dataclasses.field(default_factory=_node)
    cwd: str = dataclasses.field(default_factory=os.getcwd)
    uid: int = dataclasses.field(default_factory=os.getuid)
    tempdir: Callable[[], str] = _tempdir
    user_id: Callable[[str], int] = _user_id
    group_id: Callable[[str], int] = _group_id
    known_uid: Callable[[int], bool] = _known_uid
    known_gid: Callable[[int], bool] = _known_gid
    primary_group: Callable[[int], int] = _primary_group
    is_directory: Callable[[str], bool] = os.path.isdir
    is_writable: Callable[[str], bool] = _writable
    resolve: Callable[[str], object] = _import
    certificate: Callable[[str, str | None, str | None], None] = _certificate

    def expanduser(self, path: str) -> str:
        """Replace a leading `~` by HOME of `environ`, and `~user` by that user's home."""
        home = self.environ.get("HOME")
        if home and (path == "~" or path.startswith("~/")):
            return (home.rstrip("/") + path[1:]) or "/"
        return os.path.expanduser(path) if path.startswith("~") else path

    def absolute(self, path: str) -> str:
        """The normalised absolute form of `path`, relative to the working directory."""
        return os.path.normpath(Path(self.cwd) / self.expanduser(path))

    def existing_directory(self, path: str) -> str:
        """`path` with `~` expanded. Raises NotHere if there is no such directory."""
        expanded = self.expanduser(path)
        if not self.is_directory(expanded):
            raise NotHere(f"{path} is not an existing directory", expanded)
        return expanded

    def existing_parent(self, path: str) -> str:
        """`path` with `~` expanded. Raises NotHere if its directory does not exist."""
        expanded = self.expanduser(path)
        parent = os.path.dirname(expanded)
        if parent and not self.is_directory(parent):
            raise NotHere(f"The directory named as part of the path {path} does not exist", expanded)
        return expanded

    def uid_of(self, name: str) -> int:
        """The user id for a name or number. Raises NotHere with supervisord's text."""
        try:
            uid = int(name)
        except ValueError:
            try:
                return self.user_id(name)
            except KeyError:
                raise NotHere(f"Invalid user name {name}") from None
        if not self.known_uid(uid):
            raise NotHere(f"Invalid user id {name}", uid)
        return uid

    def gid_of(self, name: str) -> int:
        """The group id for a name or number. Raises NotHere with supervisord's text."""
        try:
            gid = int(name)
        except ValueError:
            try:
                return self.group_id(name)
            except KeyError:
                raise NotHere(f"Invalid group name {name}") from None
        if not self.known_gid(gid):
            raise NotHere(f"Invalid group id {name}", gid)
        return gid

    def owner_of(self, text: str) -> tuple[int, int]:
        """(uid, gid) for `user` or `user:group`; -1: leave the group. Raises NotHere."""
        user, colon, group = text.partition(":")
        try:
            return self.uid_of(user), self.gid_of(group) if colon else -1
        except NotHere as why:
            raise NotHere(f"Invalid user:group definition {text}: {why}") from None

    def require_factory(self, spec: str, section: str) -> object:
        """What `spec` names; None for supervisord's own, which we are ourselves. Raises NotHere."""
        if spec in STOCK_FACTORIES:
            return None
        try:
            return self.resolve(spec)
        except Exception as why:  # a plugin's import runs a stranger's code: whatever it raises is its failure
            raise NotHere(f"{spec} cannot be resolved within [{section}]: {why}{_remedy(why)}") from None

    def require_certificate(self, certfile: str, keyfile: str | None, client_ca: str | None) -> None:
        """Raise NotHere unless these files make a TLS server."""
        try:
            self.certificate(certfile, keyfile, client_ca)
        except (OSError, ValueError) as why:
            names = ", ".join(filter(None, (certfile, keyfile, client_ca)))
            raise NotHere(f"no TLS with {names}: {why}") from None

    def require_pam(self, user: str | None) -> None:
        """Raise NotHere unless the passwords of local users can be checked here, by a daemon that becomes `user`."""
        if self.uid != 0 or (user is not None and self.uid_of(user) != 0):
            raise NotHere("only a daemon that runs as root can check the passwords of local users")
        try:
            self.resolve("pamela:authenticate")
        except Exception as why:  # ImportError without the package, others where there is no libpam
            raise NotHere(f"the package pamela is needed (pip install 'supervise[pam]'): {why}") from None


def _remedy(why: Exception) -> str:
    """What to do about a plugin that was written against supervisord's own modules."""
    name = why.name or "" if isinstance(why, ModuleNotFoundError) else ""
    if name.partition(".")[0] != "supervisor":
        return ""
    return (
        f"; it needs {name} of supervisord. If it only borrows names from there, install the package supervisor beside"
        " supervise; if it works on supervisord's objects, remove the section (see Plugins in the README)"
    )
