"""Event listeners that answer nonsense, nothing or megabytes: the events reach everybody else, and nothing grows."""

import json
import sys

import psutil

from tests.daemon.listening import script
from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

MB = 1 << 20
EVENTS = 300

# What each of them does in place of an answer; `say` writes to stdout.
RUDE = {
    "nonsense": "say('what do you want?\\n')",
    "nothing": "time.sleep(1000)",
    "babble": "[say('x' * 65536) for _ in range(1000)]",
    "endless": "say('RESULT 4000000\\n'), [say('x' * 65536) for _ in range(1000)]",
    "huge": "say('RESULT 99999999999999\\n' + 'x' * 1000000), time.sleep(1000)",
    "negative": "say('RESULT -1\\nOK')",
    "binary": "os.write(1, bytes(range(256)) * 100)",
    "eager": "[say('RESULT 2\\nOKREADY\\n') for _ in range(1000)]",
    "rejects": "say('RESULT 4\\nFAIL')",
    "closes": "os.close(1), time.sleep(1000)",
    "dies": "os._exit(3)",
    "large": "say('RESULT 1000000\\n' + 'y' * 1000000)",
}
OTHERS = """
[program:good]
command = sleep 1000
startsecs = 0
[eventlistener:polite]
command = {python} -IS {place}/polite.py {place}/polite.events
events = REMOTE_COMMUNICATION
startsecs = 0
"""
SECTION = """
[eventlistener:{name}]
command = {python} -IS {place}/{name}.py {place}/{name}.events
events = REMOTE_COMMUNICATION
startsecs = 0
startretries = 1000
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 1
"""


def test_rude_listeners_disturb_nobody(supervisors: Supervisors) -> None:
    place = supervisors.place()
    script(place, "result()").rename(place / "polite.py")
    text = OTHERS
    for name, answer in RUDE.items():
        script(place, answer).rename(place / f"{name}.py")
        text += SECTION.replace("{name}", name)
    daemon = supervisors.start("supervise", text.replace("{python}", sys.executable), place=place)
    daemon.wait_state("good", "RUNNING")
    process = psutil.Process(daemon.pid)
    before, pid = process.memory_info().rss, daemon.info("good")["pid"]
    wanted = [f"e{number}" for number in range(EVENTS)]
    for text in wanted:
        daemon.rpc.supervisor.sendRemoteCommEvent("t", text)
    wait_for(lambda: heard(daemon, "polite")[-1:] == wanted[-1:], "everybody else gets them")
    assert heard(daemon, "polite") == wanted
    for name in RUDE:
        wait_for(lambda name=name: heard(daemon, name), f"{name} has been sent one")
    for name in ("nonsense", "babble", "huge", "negative", "binary"):
        daemon.wait_log(f"{name}: has entered the UNKNOWN state")
        daemon.wait_log(f"{name}: ending it, so that it is restarted: ")
    daemon.wait_log("rejects: event was rejected")
    assert process.memory_info().rss < before + 64 * MB
    assert "Traceback" not in daemon.log
    assert daemon.info("good")["pid"] == pid
    assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
    seen = daemon.api("/processes/nothing:nothing")["listener"]
    assert (seen["state"], seen["waiting"]) == ("BUSY", EVENTS - 1)


def heard(daemon: Daemon, name: str) -> list[str]:
    """The texts that a listener was sent, in order."""
    events = [json.loads(line) for line in daemon.read(f"{name}.events").splitlines()]
    return [payload.partition("\n")[2] for _, payload, _ in events]
