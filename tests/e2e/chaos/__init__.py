"""Chaos: a seeded run against the daemon, and an oracle that knows what every program did.

1. `child` is every program. It writes its own truth into a ledger before it acts, so nothing depends on the daemon.
2. `world` starts programs of all kinds, has the API do things at random, and kills the daemon at random instants. It
   also keeps a descriptor of every pipe, as systemd's store of descriptors or the keeper would.
3. `oracle` compares ledgers with log files, main log, and what the API says, when all has come to rest.

`python -m tests.e2e.chaos --seed N --minutes M --kills K`; the same seed makes the same choices, not the same instants.
"""
