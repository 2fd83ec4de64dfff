"""The two commands.

1. `supervise` is the daemon's command line and may import everything; `supervisectl` (with session, settings, render,
   shell and the `*_commands`) sees the client alone, because it lives 50 ms and asyncio or aiohttp would double that.
2. An action is a click command in one of the `*_commands` modules: it asks the client, prints, and sets the session's
   exit code. The interactive shell runs the same commands.
3. On a pipe every line and exit code is supervisorctl's, for scripts read them; a terminal gets tables and colour.
4. Texts are made in `render`, which does no I/O.
"""
