"""What is wrong with a configuration, said in supervisord's words: ours only add where, and sometimes a remedy."""

import re
import subprocess

import pytest

from supervise.config.load import load
from supervise.errors import ConfigErrors
from tests.daemons import Supervisors, configuration, daemon_command, environment

GOOD = "[program:a]\ncommand = sleep 1000\n"
LISTENER = "[eventlistener:l]\ncommand = a\nevents = EVENT\n"
CASES = {
    "no command": "[program:a]\nautostart = true\n",
    "an unknown name": GOOD + "directory = %(nope)s\n",
    "half a format": GOOD + "directory = %(here)\n",
    "a blank in a name": "[program:a b]\ncommand = x\n",
    "a colon in a name": "[program:a:b]\ncommand = x\n",
    "a slash in a process's name": GOOD + "process_name = a/b\n",
    "one name for two": GOOD + "numprocs = 2\n",
    "a large exit code": GOOD + "exitcodes = 999\n",
    "no such signal": GOOD + "stopsignal = FOO\n",
    "neither true nor false": GOOD + "autostart = perhaps\n",
    "autorestart of its own": GOOD + "autorestart = perhaps\n",
    "no such user": GOOD + "user = nosuch\n",
    "a log in no directory": GOOD + "stdout_logfile = /no/such/x\n",
    "a size with one letter": GOOD + "stdout_logfile_maxbytes = 5K\n",
    "an environment without values": GOOD + "environment = A\n",
    "stop but not kill the group": GOOD + "stopasgroup = true\nkillasgroup = false\n",
    "no number": GOOD + "priority = x\n",
    "no octal number": GOOD + "umask = 9\n",
    "a group of nobody": "[group:g]\nprograms = nobody\n",
    "an unknown event": "[eventlistener:l]\ncommand = a\nevents = NOTHING\n",
    "no events": "[eventlistener:l]\ncommand = a\n",
    "a listener's stderr": LISTENER + "redirect_stderr = true\n",
    "no buffer": LISTENER + "buffer_size = 0\n",
    "no such handler": LISTENER + "result_handler = nope:nope\n",
    "no socket": "[fcgi-program:f]\ncommand = a\n",
    "the owner of a port": "[fcgi-program:f]\ncommand = a\nsocket = tcp://localhost:1\nsocket_owner = root\n",
    "a large port": "[inet_http_server]\nport = 99999\n",
    "half a password": "[inet_http_server]\nport = 127.0.0.1:9\nusername = a\n",
    "an include of nothing": "[include]\nx = 1\n",
    "a plugin without a factory": "[rpcinterface:x]\nfoo = 1\n",
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake(supervisors: Supervisors, case: str) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(configuration(place, CASES[case]))
    argv = [*daemon_command("supervisord"), "-n", "-c", str(config)]
    real = subprocess.run(argv, capture_output=True, text=True, cwd=place, env=environment(place), timeout=60)
    assert real.returncode == 2
    said = real.stderr.splitlines()[0].removeprefix("Error: ")
    said = re.sub(r" in section '.*' \(file: '.*'\)$| Available names: .*", "", said).strip()
    with pytest.raises(ConfigErrors) as caught:
        load(config)
    (problem,) = caught.value.problems
    assert said in str(problem)
    assert str(problem).startswith(f"{config}:")
    assert problem.line > 0
