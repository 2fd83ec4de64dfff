"""Where supervisectl looks for the daemon."""

from pathlib import Path

import pytest

from supervise.cli.settings import DEFAULT_URL, SettingsError, resolve

NOBODY = {"PATH": "/bin"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_everything_of_the_section(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.conf",
        """
        ; a comment
[supervisord]
serverurl = wrong
[supervisorctl]
serverurl = unix://%(here)s/run/s.sock   ; comment
username: %(ENV_WHO)s
password=a%%b;c
Prompt = mine
history_file = %(here)s/history
[program:x]
serverurl = wrong
""",
    )
    found = resolve(file, environ={"WHO": "chris"})
    assert found.serverurl == f"unix://{tmp_path}/run/s.sock"
    assert (found.username, found.password, found.prompt) == ("chris", "a%b;c", "mine")
    assert found.history_file == f"{tmp_path}/history"


def test_defaults(tmp_path: Path) -> None:
    found = resolve(write(tmp_path / "a.conf", "[supervisorctl]"), environ=NOBODY)
    assert (found.serverurl, found.username, found.prompt) == (DEFAULT_URL, None, "supervisor")
    assert resolve(environ=NOBODY).serverurl == DEFAULT_URL


def test_our_own_name_and_the_included_section(tmp_path: Path) -> None:
    write(tmp_path / "conf.d" / "ctl.conf", "[supervisectl]\nserverurl=http://a:1")
    assert (
        resolve(write(tmp_path / "a.conf", "[include]\nfiles = conf.d/*.conf\n"), environ=NOBODY).serverurl
        == "http://a:1"
    )


@pytest.mark.parametrize("name", ["supervise.conf", "supervisord.conf", "supervise.toml", "x.ini", "conf.d/y.conf"])
def test_directory(tmp_path: Path, name: str) -> None:
    place = tmp_path / "conf"
    place.mkdir()
    quote = '"' if name.endswith(".toml") else ""
    write(place / name, f"[supervisorctl]\nserverurl = {quote}http://a:1{quote}\n")
    assert resolve(str(place), environ=NOBODY).serverurl == "http://a:1"


def test_toml(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.toml", '[supervisectl]\nserverurl = "unix://%(here)s/s"\nusername = "u"\npassword = "p"\n'
    )
    assert resolve(file, environ=NOBODY).serverurl == f"unix://{tmp_path}/s"
    with pytest.raises(SettingsError, match="not valid TOML"):
        resolve(write(tmp_path / "b.toml", "[supervisectl\n"), environ=NOBODY)


def test_refusals(tmp_path: Path) -> None:
    bare = write(tmp_path / "a.conf", "[supervisord]\n")
    with pytest.raises(SettingsError, match=r"^\.ini file does not include supervisorctl section$"):
        resolve(bare, environ=NOBODY)
    with pytest.raises(SettingsError, match=r"^could not find config file /nonexistent$"):
        resolve("/nonexistent", environ=NOBODY)
    with pytest.raises(SettingsError, match="ENV_NOPE"):
        resolve(write(tmp_path / "b.conf", "[supervisorctl]\nusername=%(ENV_NOPE)s\n"), environ=NOBODY)
    assert resolve(bare, "http://a:1", environ=NOBODY).serverurl == "http://a:1"


def test_precedence(tmp_path: Path) -> None:
    file = write(tmp_path / "a.conf", "[supervisorctl]\nserverurl=http://file:1\nusername=file\n")
    around = {f"SUPERVISOR_{word}": "http://env:1" for word in ("SERVER_URL", "USERNAME", "PASSWORD")}
    line = resolve(file, "http://line:1", environ=around)
    assert (line.serverurl, line.username, line.password) == ("http://line:1", "file", "http://env:1")
    assert resolve(file, environ=around).serverurl == "http://file:1"
    assert resolve(environ=around).serverurl == "http://env:1"
    write(tmp_path / "supervisord.conf", "[supervisorctl]\nserverurl=http://found:1\nprompt=found\n")
    found = resolve(environ=around)
    assert (found.serverurl, found.prompt) == ("http://env:1", "found")
    assert resolve(environ=NOBODY).serverurl == "http://found:1"


def test_a_named_file_without_url_is_not_the_environments_daemon(tmp_path: Path) -> None:
    file = write(tmp_path / "a.conf", "[supervisorctl]\nprompt=x\n")
    assert resolve(file, environ={"SUPERVISOR_SERVER_URL": "unix:///other"}).serverurl == DEFAULT_URL


def test_a_found_file_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "supervisord.conf").write_text("[supervisorctl]\nusername=%(ENV_NOPE)s\n")
    assert resolve(None, "http://a:1", environ=NOBODY).serverurl == "http://a:1"
    with pytest.raises(SettingsError):
        resolve(environ=NOBODY)
