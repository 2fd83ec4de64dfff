"""AUTO logs: what a start does with those of earlier runs."""

from pathlib import Path

from supervise.daemon.autologs import auto_path, is_auto_log, retire_auto_logs


def test_names() -> None:
    path = auto_path("/tmp", "my.id", "web/1", "stdout")
    assert path.startswith("/tmp/web_1-stdout---my.id-")
    assert path != auto_path("/tmp", "my.id", "web/1", "stdout")
    assert is_auto_log(path, "my.id")
    assert is_auto_log(path + ".10", "my.id")
    assert not is_auto_log(path, "myxid")
    assert not is_auto_log("/tmp/web-stdout---my.id-abc.log.last", "my.id")
    assert not is_auto_log("/tmp/web.log", "my.id")


def test_the_last_run_s_are_kept_and_older_ones_go(tmp_path: Path) -> None:
    run = ("web-stdout---supervisor-{}.log", "web-stdout---supervisor-{}.log.1")
    others = {"x-stdout---other-abc.log", "web.log", "supervisord.log.1", "notes.last"}
    for name in (*others, *(each.format("first") for each in run)):
        (tmp_path / name).write_text("x")

    def names() -> set[str]:
        return {path.name for path in tmp_path.iterdir()} - others

    retire_auto_logs(str(tmp_path), "supervisor")
    assert names() == {each.format("first") + ".last" for each in run}
    for each in run:
        (tmp_path / each.format("second")).write_text("x")
    retire_auto_logs(str(tmp_path), "supervisor")
    assert names() == {each.format("second") + ".last" for each in run}
    retire_auto_logs(str(tmp_path), "supervisor")
    assert names() == set()
    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    retire_auto_logs(str(tmp_path / "none"), "supervisor")
