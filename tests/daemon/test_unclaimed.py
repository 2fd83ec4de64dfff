import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory
from supervise.daemon.trees import Trees
from supervise.daemon.unclaimed import Unclaimed
from supervise.system.handover import Handover
from supervise.system.journal import Journal, start_time
from supervise.system.pipes import open_pipe, pending
from tests.daemon.running import eventually, group, program, run

TREES = Trees("test", lambda process: None)
SAVES = 'trap "seq 60000; seq 60000 >&2; exit" TERM; echo before; while :; do sleep 0.02; done'
SAID = "".join(f"{number}\n" for number in range(1, 60001))


@pytest.mark.parametrize("known", ["recorded", "configured", "unknown"])
def test_read_until_it_has_ended(tmp_path: Path, known: str) -> None:
    """To the files that its record names, to those that it is configured to have, or to nowhere."""
    files = {name: [str(tmp_path / name), 0, 0] for name in ("stdout", "stderr")}

    async def story() -> None:
        logs = Logs(asyncio.get_running_loop(), childlogdir=str(tmp_path), identifier="test")
        (out_reader, out), (err_reader, err) = open_pipe(), open_pipe()
        with subprocess.Popen(["sh", "-c", SAVES], stdout=out, stderr=err, start_new_session=True) as child:
            os.close(out)
            os.close(err)
            await eventually(lambda: pending(out_reader) > 0)
            pipes = {"stdout": [os.fstat(out_reader).st_ino], "stderr": [os.fstat(err_reader).st_ino]}
            journal = Journal(str(tmp_path / "state"))
            facts: dict[str, Any] = {"pid": child.pid, "start_time": start_time(child.pid), "pipes": pipes}
            record = {"group": "p", "name": "p", **facts} | ({"files": files} if known == "recorded" else {})
            journal.write(journal.allocate(), record)
            kept = {f"pipe-{os.fstat(fd).st_ino}": fd for fd in (out_reader, err_reader)}
            memory = Memory(Journal(str(tmp_path / "state")), Handover(kept))
            options = {f"{name}_logfile": path for name, (path, *_) in files.items()}
            groups = [group(program("p", "x", **options))] if known == "configured" else []
            await Unclaimed(logs, memory, groups).end(TREES)
            assert child.wait(60) == 0, "it was not killed"
            assert Journal(str(tmp_path / "state")).records == {}
            await logs.close()
        if known != "unknown":
            assert (tmp_path / "stdout").read_text() == f"before\n{SAID}"
            assert (tmp_path / "stderr").read_text().replace("Terminated\n", "") == SAID

    run(story)
