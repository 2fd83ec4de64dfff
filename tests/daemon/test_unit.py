"""conf/supervise.service, judged by systemd itself."""

import configparser
import subprocess
from pathlib import Path
from typing import Any

from tests.tools import ROOT, need

UNIT = ROOT / "conf" / "supervise.service"


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", str(UNIT)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SYSTEMD_LOG_LEVEL": "warning"},
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_daemon_relies_on() -> None:
    unit: Any = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["Type"], service["Restart"], service["Delegate"]) == ("notify", "always", "yes")
    assert service["KillMode"] == "process", "a daemon that is killed takes nobody with it"
    assert int(service["FileDescriptorStoreMax"]) > 4096
    assert service["Environment"].startswith("FDSTORE=")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["RestartPreventExitStatus"] == "0 2", "who was told to end stays down"
    assert service["WatchdogSec"]
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert "supervise" in service["ExecStart"].split()
