"""Which names a TAB offers (the whole way through a shell: test_supervisectl, test_shell)."""

from supervise.cli.completion import candidates


def process(group: str, name: str) -> dict[str, str]:
    return {"group": group, "name": name, "namespec": name if group == name else f"{group}:{name}"}


def test_candidates() -> None:
    rows = [process("cat", "cat"), process("two", "a"), process("two", "b")]
    assert candidates(rows, "") == ["cat", "two:a", "two:*", "two:b"]
    assert candidates(rows, "cat:") == ["cat:cat", "cat:*", "two:a", "two:*", "two:b"]
    assert candidates([], "x") == []
