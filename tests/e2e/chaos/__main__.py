"""`python -m tests.e2e.chaos [--seed N] [--minutes M] [--kills K] [--programs P] [--keeper]`: 0 if nothing is wrong.

The logs are in memory by default: of what is written while a disk stalls, no more than `daemon.backlog.LIMIT` bytes are
kept for each, and what is lost then is wrong here.
"""

import argparse
import random
import sys
import tempfile

from tests.e2e.chaos.world import World


def main(words: list[str]) -> int:
    """Run, judge, and print seed, totals, and what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--programs", type=int, default=50)
    parser.add_argument("--on", metavar="DIR", default="/dev/shm", help="file system of the logs (default: memory)")
    parser.add_argument("--keeper", action="store_true", help="a real one; it starts a daemon at once every 10 seconds")
    given = parser.parse_args(words)
    tempfile.tempdir = given.on
    print(f"seed {given.seed}", flush=True)
    world = World(given.seed, given.programs, keeper=given.keeper)
    try:
        world.run(given.minutes, given.kills)
        print(world.judge())
    except BaseException as error:
        world.wrong.append(repr(error))
        raise
    finally:
        world.close()
    for each in world.wrong:
        print("WRONG", each)
    return bool(world.wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
