"""The sample is true: what it shows as defaults is what is without them, and supervisord reads it, too."""

import re
import subprocess
import sys
from pathlib import Path

from supervise.config.load import load
from supervise.config.sample import sample
from supervise.config.schema import SECTION_DOCS
from supervise.config.sections import options_of
from tests.tools import ROOT


def test_every_section_and_option_is_in_it() -> None:
    text = sample()
    for kind in SECTION_DOCS:
        assert re.search(rf"^;?\[{kind}(:\w+)?\]$", text, re.MULTILINE), kind
        for key in options_of(kind):
            assert re.search(rf"^;?{re.escape(key)} =", text, re.MULTILINE), (kind, key)


def test_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "s.conf").write_text(sample())
    config = load(tmp_path / "s.conf")
    assert [server.file for server in config.servers] == ["/run/supervise.sock"]
    assert not config.groups
    assert not config.warnings


def test_defaults_are_true(tmp_path: Path) -> None:
    """Without its marks of comments, and without what has no default, a program is as if none of it were there."""
    shown = sample().partition(";[program:x]\n")[2].partition("\n\n")[0]
    options = [line.removeprefix(";") for line in shown.splitlines() if re.match(r";\w+ = .", line)]
    assert len(options) > 30
    kept = [line for line in options if not line.startswith(("stopasgroup", "killasgroup", "stop_scope"))]
    files = {"all.conf": "\n".join(kept), "bare.conf": "command = /usr/bin/example --option"}
    configs = []
    for name, text in files.items():
        (tmp_path / name).write_text(f"[supervisord]\n[program:x]\n{text}\n")
        configs.append(load(tmp_path / name))
    assert configs[0].groups == configs[1].groups


def test_the_real_one_reads_it(tmp_path: Path) -> None:
    text = sample().replace("/var/log/", f"{tmp_path}/").replace("/run/", f"{tmp_path}/")
    (tmp_path / "s.conf").write_text(text)
    code = (
        "import sys; from supervisor.options import ServerOptions; o = ServerOptions();"
        "o.realize(['-c', sys.argv[1]]); print(o.logfile, len(o.process_group_configs), len(o.server_configs))"
    )
    argv = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "s.conf")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"{tmp_path}/supervise.log 0 1\n", "")


def test_by_both_names() -> None:
    by_name = subprocess.run(
        [sys.executable, "-m", "supervise", "sample"], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert by_name.stdout == sample() + "\n"
    assert 'echo_supervisord_conf = "supervise.cli.check:sample"' in (ROOT / "pyproject.toml").read_text()
