"""The walls of the house, as tests: who may import whom, how large a room may be, what must be said at its door."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import ROOT

SOURCE = ROOT / "supervise"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
NAMES = [str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") for path in MODULES]

# layer (or module) -> what of our own it may import; the most specific entry holds
MAY_IMPORT = {
    "errors": set(),
    "config": {"errors", "config"},
    "core": {"errors", "config", "core"},
    "system": {"errors", "config.model", "config.secrets", "system"},
    "daemon": {"errors", "config", "core", "system", "daemon"},
    "daemon.main": {
        "errors",
        "config",
        "core",
        "system",
        "daemon",
        "api.app",
    },  # only there, and late: it starts the API
    "api": {"errors", "config.model", "config.passwords", "config.secrets", "core.events", "api"}
    | {f"daemon.{name}" for name in ("aside", "commands", "bus", "info", "namespec", "followers")},
    "http1": {"errors"},
    "client": {"errors", "http1"},
    "cli": {"errors", "config", "client", "http1", "cli"},
    "cli.supervise": {"errors", "config", "core", "system", "daemon", "export", "cli"},
    "export": {"errors", "config.model", "export"},
    "__main__": {"cli.supervise"},
}
# layer -> modules from outside that would break its promise
MUST_NOT_IMPORT = {
    "config": {"asyncio", "aiohttp", "click", "logging", "socket", "time", "psutil"},
    "core": {"asyncio", "aiohttp", "click", "logging", "os", "pathlib", "psutil", "socket", "subprocess", "time"},
    "system": {"aiohttp", "click"},
    "daemon": {"aiohttp", "click"},
    "api": {"click", "psutil", "subprocess"},
    "client": {"aiohttp", "asyncio", "click", "psutil"},
    "http1": {"aiohttp", "asyncio", "click", "psutil"},
    "cli": {"aiohttp", "asyncio", "psutil"},
    "cli.supervise": {"aiohttp"},
    "errors": {"asyncio", "aiohttp", "click", "os"},
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> set[str]:
    """Every module that the file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            # `from supervise.config import model` names a module, `from supervise.config.model import X` a thing in one
            found |= {f"{module}.{alias.name}" if f"{module}.{alias.name}" in NAMES else module for alias in node.names}
    return found


def entry(table: dict[str, set[str]], module: str) -> set[str]:
    """The table's row for a module: its own, or that of the closest package above it."""
    while module not in table and "." in module:
        module = module.rpartition(".")[0]
    return table.get(module, set())


def short(name: str) -> str:
    return name.removeprefix("supervise.")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_layers(path: Path) -> None:
    module = short(NAMES[MODULES.index(path)])
    allowed, forbidden = entry(MAY_IMPORT, module), entry(MUST_NOT_IMPORT, module)
    for name in imports(path):
        if name == "supervise":
            continue  # the version
        if name.startswith("supervise."):
            assert any(short(name) == one or short(name).startswith(one + ".") for one in allowed), (
                f"{module} imports {name}"
            )
        else:
            assert name.partition(".")[0] not in forbidden, f"{module} imports {name}"


def test_no_cycles() -> None:
    graph = {
        name: {other for other in imports(path) if other in NAMES} for name, path in zip(NAMES, MODULES, strict=True)
    }
    while ready := [name for name, wants in graph.items() if not wants & graph.keys()]:
        for name in ready:
            del graph[name]
    assert not graph, f"modules that import each other, or depend on such: {sorted(graph)}"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_room_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 360
    module = ast.parse(text)
    assert ast.get_docstring(module), "the module has no docstring"
    silent = [node.name for node in public(module) if not ast.get_docstring(node)]
    assert not silent, f"without a docstring: {silent}"


def public(module: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public functions of the module's top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in module.body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("__init__.py")), ids=str)
def test_a_package_only_explains_itself(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module)
    rest = [node for node in module.body[1:] if not (isinstance(node, ast.Assign) and path.parent == SOURCE)]
    assert not rest, "an __init__ holds only its docstring (and the top one the version)"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_every_module_has_its_test(path: Path) -> None:
    inside = path.relative_to(SOURCE)
    if path.name == "__main__.py":
        return
    test = ROOT / "tests" / inside.parent / f"test_{inside.name}"
    assert test.exists(), f"{test.relative_to(ROOT)} is missing"


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_no_state_of_the_module(path: Path) -> None:
    """A mutable display at a module's top is a constant table: upper case, and nobody declares it global."""
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global {node.names}"
    assignments = [node for node in tree(path).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    for node in assignments:
        if isinstance(node.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            assert all(name.strip("_").isupper() or name == "__all__" for name in names), f"line {node.lineno}: {names}"


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after the statement."""
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(run.stdout.split())


def test_the_client_starts_light() -> None:
    assert not loaded_by("import supervise.cli.supervisectl") & {
        "aiohttp",
        "asyncio",
        "psutil",
        "tomli",
        "ssl",
        "email.mime",
    }


def test_the_daemon_core_starts_without_the_http_stack() -> None:
    assert not loaded_by("import supervise.cli.supervise, supervise.config.load, supervise.daemon.main") & {
        "aiohttp",
        "click",
        "multidict",
        "platform",  # one of our own would cost 1 ms, and tempfile 3
        "tempfile",
    }


SILENCED = re.compile(r"#\s*(noqa|type:\s*ignore|nosec|pragma|fmt:\s*(off|skip))(?P<rest>.*)")


def test_a_silenced_check_says_why() -> None:
    """Which check it is, and the reason: behind it, or in a comment on the line above."""
    for path in (*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        above = ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if path != Path(__file__) and (silenced := SILENCED.search(line)):
                which, _, why = silenced["rest"].partition("  # ")
                assert "fmt" in silenced[1] or which, f"{path}:{number}: everything is silenced"
                assert why or above.startswith("#"), f"{path}:{number}: the reason is missing"
            above = line.strip()


def test_no_vague_rooms() -> None:
    vague = {"utils", "util", "helpers", "common", "manager", "misc", "base"}
    assert not {part for name in NAMES for part in name.split(".")} & vague
