"""supervise: a process supervisor for Linux that takes over a supervisord configuration unchanged.

The house, from the ground up (tests/test_architecture.py guards the walls):

    errors <- config <- core        what is wrong; what is configured; what may happen next
    system                          the kernel: spawn, reap, files, sockets; no decisions
    daemon                          the asyncio shell that carries core's decisions to system
    api, cli                        adapters: they translate, and decide nothing
"""

__version__ = "0.1.0"
