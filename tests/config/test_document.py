import pytest

from supervise.config.document import Document, Entry, Section, map_texts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("supervisord", "supervisord"),
        ("program:x", "program"),
        ("program", ""),
        ("program:", "program"),
        ("inet_http_server", "inet_http_server"),
        ("inet_http_server:more", "inet_http_server"),
        ("unix_http_server2", "unix_http_server"),
        ("supervisord:x", ""),
        ("include:x", ""),
        ("whatever", ""),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert Section(name, "f", 1, {}).kind == kind


def test_aliases_are_one_section_with_what_they_stand_for() -> None:
    document = Document("f", "/")
    document.open("supervise", "f", 1)["a"] = Entry("1", "f", 2)
    document.open("supervisord", "f", 3)["b"] = Entry("2", "f", 4)
    assert list(document.sections) == ["supervisord"]
    assert list(document.sections["supervisord"].own) == ["a", "b"]


def test_defaults_are_in_every_section_and_have_their_own_place() -> None:
    document = Document("f", "/")
    document.open("DEFAULT", "f", 1)["user"] = Entry("root", "f", 2)
    document.open("program:a", "f", 3)
    section = document.sections["program:a"]
    assert section.get("user") == Entry("root", "f", 2)
    assert section.place("user") == ("f", 2, "program:a", "user")
    assert section.place("command") == ("f", 3, "program:a", "command")
    assert [s.name for s in document.of_kind("program")] == ["program:a"]


def test_here_is_fixed_in_what_was_read_so_far() -> None:
    document = Document("f", "/")
    document.open("DEFAULT", "f", 1)["directory"] = Entry("%(here)s/d", "f", 2)
    document.open("program:a", "f", 3)["command"] = Entry(["%(here)s/x", "%(other)s"], "f", 4)
    document.fix_here("/one")
    document.open("program:b", "f", 5)["command"] = Entry("%(here)s/y", "f", 6)
    document.fix_here("/two")
    a, b = document.sections.values()
    assert [entry.raw for entry in a.own.values()] == [["/one/x", "%(other)s"], "/one/d"]
    assert [entry.raw for entry in b.own.values()] == ["/two/y", "/two/d"]


def test_map_texts() -> None:
    raw = {"a": ["x", 1, {"b": "y"}], "c": True, "d": 1.5}
    assert map_texts(raw, str.upper) == {"a": ["X", 1, {"b": "Y"}], "c": True, "d": 1.5}
