"""The core: what a supervised process may do next. Nothing here performs I/O.

1. Whatever decides a process's state lives in this package.
2. Nothing here imports asyncio, os, time, logging or `supervise.system`: the time is an argument, and
   everything wanted of the world is returned.
3. What is wanted, what is, why, and until when are four named things (`wanted`, `state`, `reason`,
   `deadline`); no flag stands beside them.
"""
