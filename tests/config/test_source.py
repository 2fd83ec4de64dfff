import os
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.config import source
from supervise.config.document import Document
from supervise.config.problems import Problems

Write = Callable[..., Path]


def read(path: Path, **environ: str) -> tuple[Document, Problems]:
    problems = Problems()
    return source.read(str(path), environ, "node7", problems), problems


def test_includes_in_order_of_patterns_and_names(write: Write, tmp_path: Path) -> None:
    write("[program:b]\ncommand=b %(here)s\n[program:a]\nuser=b", "conf.d/b.conf")
    write("[program:a]\ncommand=a\nuser=a", "conf.d/a.conf")
    write('[program.c]\ncommand = "c"\n', "more/node7.toml")
    main = write(
        """
        [supervisord]
        logfile=%(here)s/log
        [include]
        files = more/%(host_node_name)s.toml conf.d/*.conf
            %(ENV_NOWHERE)s/*.ini  none/*.conf
        """
    )
    document, problems = read(main, NOWHERE="/no/where")
    assert not problems.errors
    assert [Path(file).name for file in document.files] == ["supervisord.conf", "node7.toml", "a.conf", "b.conf"]
    assert document.sections["program:b"].own["command"].raw == f"b {tmp_path}/conf.d"
    assert document.sections["program:a"].own["user"].raw == "b"
    assert document.sections["supervisord"].own["logfile"].raw == f"{tmp_path}/log"
    assert [text for _, text in problems.messages] == [
        'No file matches via include "/no/where/*.ini"',
        f'No file matches via include "{tmp_path}/none/*.conf"',
        f'Included extra file "{tmp_path}/more/node7.toml" during parsing',
        f'Included extra file "{tmp_path}/conf.d/a.conf" during parsing',
        f'Included extra file "{tmp_path}/conf.d/b.conf" during parsing',
    ]


def test_without_include_here_stays_for_later(write: Write) -> None:
    document, _ = read(write("[supervisord]\nlogfile=%(here)s/log"))
    assert document.sections["supervisord"].own["logfile"].raw == "%(here)s/log"


def test_patterns_may_be_a_list(write: Write) -> None:
    write("[program:a]\ncommand=a", "a b.ini")
    document, _ = read(write('[include]\nfiles = ["a b.ini"]\n[supervisord]\n', "supervise.toml"))
    assert "program:a" in document.sections


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[include]\n", ".ini file has [include] section, but no files setting"),
        ("[include]\nfiles=%(ENV_X)s", "Format string '%(ENV_X)s' for 'include.files' contains names ('ENV_X')"),
    ],
)
def test_bad_includes(write: Write, text: str, message: str) -> None:
    _, problems = read(write(text))
    assert [error.message.startswith(message) for error in problems.errors] == [True]


@pytest.mark.parametrize(
    ("files", "message"),
    [("[1]", "expected a list of file patterns, not [1]"), (r'["a\u0000/*.conf"]', "contains a NUL byte")],
)
def test_patterns_must_be_texts(write: Write, files: str, message: str) -> None:
    _, problems = read(write(f"[include]\nfiles = {files}\n", "x.toml"))
    assert [(error.line, error.message) for error in problems.errors] == [(2, message)]


@pytest.mark.parametrize("main", ["[include]\nfiles=conf.d/*", None])
def test_an_include_of_an_included_file_warns(write: Write, tmp_path: Path, main: str | None) -> None:
    """Also of one that is read because it is in the directory."""
    write("[program:a]\ncommand=a\n[include]\nfiles=other/*.conf\n[supervisord]", "conf.d/a.ini")
    write("[include]", "conf.d/b.ini")
    write('[program.c]\ncommand="c"\n\n[include]\nfiles=["x"]', "conf.d/c.toml")
    document, problems = read(write(main) if main else tmp_path)
    assert [(Path(warning.file).name, warning.line, warning.message) for warning in problems.warnings] == [
        (name, line, "an included file cannot include others: ignored")
        for name, line in (("a.ini", 3), ("b.ini", 1), ("c.toml", 4))
    ]
    assert ("include" in document.sections) is bool(main)


def test_what_matches_but_is_no_file_is_skipped(write: Write, tmp_path: Path) -> None:
    (tmp_path / "d.ini").mkdir()
    os.mkfifo(tmp_path / "e.ini")  # nobody will ever write to it
    _, problems = read(write("[include]\nfiles=*.ini"))
    assert [(Path(warning.file).name, warning.message) for warning in problems.warnings] == [
        ("d.ini", "skipped: it is not a regular file"),
        ("e.ini", "skipped: it is not a regular file"),
    ]


def test_too_many_files(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 1003):
        write("", f"d/{number}.conf")
    _, problems = read(write("[include]\nfiles=d/*.conf"))
    assert [error.message for error in problems.errors] == ["1002 files are included, over 1000"]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"[a]\nb=\xff\n", 2, "not UTF-8: byte 0xff; save the file as UTF-8"),
        (b"[a]\nb=\0\n", 2, "contains a NUL byte"),
        (b"[a]\n" + b"#" * (16 * 1024**2), 0, "longer than 16 MiB"),
    ],
)
def test_what_cannot_be_text(write: Write, data: bytes, line: int, message: str) -> None:
    _, problems = read(write(data))
    assert [(error.line, error.message) for error in problems.errors] == [(line, message)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_mark(write: Write, end: str) -> None:
    text = f"[program:a]{end}command=sh -c{end}  'é'{end}user=x{end}"
    document, problems = read(write(b"\xef\xbb\xbf" + text.encode()))
    assert not problems.errors
    entries = document.sections["program:a"].own
    assert {key: (entry.raw, entry.line) for key, entry in entries.items()} == {
        "command": ("sh -c\n'é'", 2),
        "user": ("x", 4),
    }


def test_a_directory_with_a_main_file(write: Write, tmp_path: Path) -> None:
    write("[program:other]\ncommand=x", "other.conf")
    main = write("[supervisord]\n", "supervisord.conf")
    document, _ = read(tmp_path)
    assert (document.file, document.files) == (str(main), [str(main)])


def test_the_section_of_the_daemon_may_be_in_any_of_them(write: Write, tmp_path: Path) -> None:
    write("[program:a]\ncommand=x", "a.conf")
    write("[supervise]\nloglevel = 'debug'", "b.toml")
    document, problems = read(tmp_path)
    assert not problems.warnings
    assert document.sections["supervisord"].place() == (f"{tmp_path}/b.toml", 1, "supervisord", "")


def test_a_directory_without_one_is_all_its_files(write: Write, tmp_path: Path) -> None:
    write("[program:a]\ncommand=%(here)s", "web.conf")
    write("[program:b]\ncommand=x", "b.ini")
    write('[program.c]\ncommand="x"', "c.toml")
    write("[program:d]\ncommand=%(here)s", "conf.d/d")
    write("nothing", "README.md")
    document, problems = read(tmp_path)
    assert not problems.errors
    assert list(document.sections) == ["program:a", "program:b", "program:c", "program:d", "supervisord"]
    assert [(warning.file, warning.message) for warning in problems.warnings] == [
        (str(tmp_path), "no file has a [supervisord] section: each of its options has its default")
    ]
    assert document.sections["program:d"].own["command"].raw == f"{tmp_path}/conf.d"
    assert document.here == str(tmp_path)


@pytest.mark.parametrize("name", ["web.conf~", "web.conf.bak", "web.conf.dpkg-dist", "web.ini.rpmsave", "README"])
def test_what_is_kept_beside_the_files_of_a_directory_is_not_read(write: Write, tmp_path: Path, name: str) -> None:
    write("[program:web]\ncommand=new", "conf.d/web.conf")
    write("[program:web]\ncommand=old", f"conf.d/{name}")
    document, problems = read(tmp_path)
    assert document.sections["program:web"].own["command"].raw == "new"
    assert not problems.errors
    assert (20, f'Left aside file "{tmp_path}/conf.d/{name}"') in problems.messages


def test_an_empty_directory(tmp_path: Path) -> None:
    _, problems = read(tmp_path)
    assert [error.message for error in problems.errors] == [
        f"no configuration in {tmp_path}: no *.conf, *.ini, *.toml, conf.d/*"
    ]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(source.Unreadable, match=r"could not find config file x\.conf"):
        source.read(str(tmp_path / "x.conf"), {}, "", Problems(), shown="x.conf")


def test_what_cannot_be_read() -> None:
    with pytest.raises(source.Unreadable, match="could not read config file /proc/self/mem: Input/output error"):
        read(Path("/proc/self/mem"))


def test_a_device_is_bounded() -> None:
    _, problems = read(Path("/dev/zero"))
    assert [error.message for error in problems.errors] == ["longer than 16 MiB"]
