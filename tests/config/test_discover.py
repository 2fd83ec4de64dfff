import os
from pathlib import Path

import pytest

from supervise.config.discover import find, in_directory, places
from supervise.errors import ConfigError
from tests.tools import need_root


def test_the_places_are_supervisords_with_our_names_first() -> None:
    found = list(places("/opt/x/bin/supervise", "/home/me"))
    assert [path for path in found if path.endswith("supervisord.conf")] == [
        "/opt/x/etc/supervisord.conf",
        "/opt/x/supervisord.conf",
        "/home/me/supervisord.conf",
        "/home/me/etc/supervisord.conf",
        "/etc/supervisord.conf",
        "/etc/supervise/supervisord.conf",
        "/etc/supervisor/supervisord.conf",
    ]
    assert found[:3] == ["/opt/x/etc/supervise.toml", "/opt/x/etc/supervise.conf", "/opt/x/etc/supervisord.conf"]


def test_the_first_that_exists(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    later = tmp_path / "etc" / "supervise.toml"
    later.touch()
    assert find("/no/bin/supervise", str(tmp_path)) == str(later)
    (tmp_path / "supervisord.conf").touch()
    assert find("/no/bin/supervise", str(tmp_path)) == str(tmp_path / "supervisord.conf")


def test_root_takes_only_what_root_wrote(tmp_path: Path) -> None:
    need_root()
    path = tmp_path / "supervise.conf"
    path.touch()
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="everybody may write it"):
        find("/no/bin/supervise", str(tmp_path))
    path.chmod(0o644)
    os.chown(path, 12345, 0)
    with pytest.raises(ConfigError, match="belongs to user 12345, not to root"):
        find("/no/bin/supervise", str(tmp_path))


def test_nothing_at_all(tmp_path: Path) -> None:
    found = find("/no/bin/supervise", str(tmp_path))
    assert found is None or found.startswith("/etc/")


def test_the_main_file_of_a_directory(tmp_path: Path) -> None:
    assert in_directory(str(tmp_path)) == str(tmp_path)
    for name in ("supervisord.conf", "supervise.conf", "supervise.toml"):
        (tmp_path / name).touch()
        assert in_directory(str(tmp_path)) == str(tmp_path / name)
    assert in_directory(str(tmp_path / "supervise.conf")) == str(tmp_path / "supervise.conf")
