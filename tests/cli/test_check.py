import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from supervise.cli.check import check, schema

GOOD = "[supervisord]\n[program:a]\ncommand=/bin/sh\n"
ODD = GOOD + "comand=x\nuser=no such user\n"
BAD = GOOD + "autostart=maybe\nstartsecs=soon\ncomand=y\n"


def run(path: Path, text: str, *options: str) -> Result:
    path.write_text(text)
    return CliRunner().invoke(check, ["-c", str(path), *options])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.conf"


def test_nothing_to_say(path: Path) -> None:
    result = run(path, GOOD)
    assert (result.exit_code, result.output) == (0, f"{path}: 1 group, 1 process; 0 errors, 0 warnings\n")


def test_warnings_are_no_failure_unless_strict(path: Path) -> None:
    result = run(path, ODD)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{path}:5: [program:a] user: Invalid user name no such user; supervise would refuse to start here (warning)",
        f"{path}:4: [program:a] comand: unknown option; did you mean command? (warning)",
        f"{path}: 1 group, 1 process; 0 errors, 2 warnings",
    ]
    assert run(path, ODD, "--strict").exit_code == 2


def test_all_errors_at_once(path: Path) -> None:
    result = run(path, BAD)
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert lines[0] == f"{path}:4: [program:a] autostart: not a valid boolean value: 'maybe'"
    assert lines[1].startswith(f"{path}:5: [program:a] startsecs: invalid literal for int() with base 10: 'soon'")
    assert lines[2] == f"{path}:6: [program:a] comand: unknown option; did you mean command? (warning)"
    assert lines[3:] == ["2 errors, 1 warning"]


def test_errors_hide_no_other_problem(path: Path) -> None:
    """Who repairs the errors shall not find the next ones only then."""
    programs = "[program:two]\ncommand=/bin/sh\nnumprocs=2\n[program:gone]\ncommand=/no/such\n"
    result = run(path, BAD + programs)
    lines = result.output.splitlines()
    assert lines[2].startswith(f"{path}:7: [program:two] process_name: %(process_num) must be present")
    assert lines[4] == f"{path}:11: [program:gone] command: can't find command '/no/such' (warning)"
    assert lines[5:] == ["3 errors, 2 warnings"]  # and not that two processes have the same name
    assert run(path, BAD, "--json").exit_code == 2


def test_one_json_object(path: Path) -> None:
    result = run(path, ODD, "--json")
    shown = json.loads(result.stdout)
    assert {"supervisord", "servers", "supervisorctl", "groups", "origins"} <= shown.keys()
    (group,) = shown["groups"]
    assert (group["class"], group["priority"]) == ("ProcessGroupConfig", 999)
    assert group["processes"][0]["argv"] == ["/bin/sh"]
    assert shown["origins"]["program:a"]["command"] == f"{path}:3"
    assert [warning["option"] for warning in shown["warnings"]] == ["user", "comand"]


def test_json_of_what_cannot_be_loaded(path: Path) -> None:
    result = run(path, BAD, "--json")
    assert result.exit_code == 2
    shown = json.loads(result.stdout)
    assert shown["errors"][0] == {
        "file": str(path),
        "line": 4,
        "section": "program:a",
        "option": "autostart",
        "message": "not a valid boolean value: 'maybe'",
    }


def test_what_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(check, ["-c", str(tmp_path / "no.conf")])
    assert result.exit_code == 2
    assert "could not find config file" in result.output


def test_the_usual_places_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/no/such/bin/supervise"])
    (tmp_path / "supervise.conf").write_text(GOOD)
    assert CliRunner().invoke(check).output == "supervise.conf: 1 group, 1 process; 0 errors, 0 warnings\n"


def test_the_schema_is_printed() -> None:
    result = CliRunner().invoke(schema)
    jsonschema.Draft202012Validator.check_schema(json.loads(result.output))


def test_as_a_command(path: Path) -> None:
    path.write_text(BAD)
    command = [sys.executable, "-m", "supervise", "check", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "2 errors, 1 warning" in done.stdout
