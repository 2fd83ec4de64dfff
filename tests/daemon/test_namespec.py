from pathlib import Path

import pytest

from supervise.daemon.namespec import is_single, literal, select
from supervise.errors import CommandError, Fault
from tests.daemon.running import group, run, sh, supervising

WEB = [sh(f"web-{i}", "true", group_name="web") for i in range(3)]
GROUPS = [
    group(*WEB, priority=5),
    group(sh("db", "true"), priority=1),
    group(sh("web-log", "true")),
    group(sh("a[b]", "true")),
    group(sh("all", "true", group_name="other")),
]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("db", "db"),
        ("db:db", "db"),
        ("web:web-1", "web-1"),
        ("web:*", "web-0 web-1 web-2"),
        ("web:", "web-0 web-1 web-2"),
        ("web-*", "web-0 web-1 web-2 web-log"),
        ("web:web-[12]", "web-1 web-2"),
        ("w*:web-?", "web-0 web-1 web-2"),
        ("*:db", "db"),
        ("all", "db web-0 web-1 web-2 a[b] all web-log"),
        ("*", "db web-0 web-1 web-2 a[b] all web-log"),
        (literal("a[b]"), "a[b]"),
        (literal("other:all"), "all"),
        (literal("web:*"), "web-0 web-1 web-2"),
        ("a[b]", "a[b]"),
        ("a[b]:a[b]", "a[b]"),
    ],
)
def test_select(tmp_path: Path, spec: str, expected: str) -> None:
    async def story() -> None:
        async with supervising(tmp_path, *GROUPS) as supervisor:
            assert " ".join(process.name for process in select(supervisor.groups, spec)) == expected

    run(story)


@pytest.mark.parametrize(
    "spec", ["", ":", "nobody", "web", "web:db", "x*", "db:x*", literal("all"), literal("web-*"), "é"]
)
def test_names_that_mean_nothing(tmp_path: Path, spec: str) -> None:
    async def story() -> None:
        async with supervising(tmp_path, *GROUPS) as supervisor:
            with pytest.raises(CommandError) as info:
                select(supervisor.groups, spec)
            assert info.value.fault is Fault.BAD_NAME

    run(story)


def test_single() -> None:
    assert [name for name in ("a", "a:b", "a:", "a:*") if is_single(name)] == ["a", "a:b"]
