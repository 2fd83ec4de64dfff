"""The kernel: what can be done to processes, descriptors, sockets and files. Nothing here decides anything.

1. Only `errors`, `config.model` and `config.secrets` of ours are known here; an act takes values and returns facts, or
   raises.
2. Every descriptor has one owner that closes it, also on every way of failing, and is close-on-exec.
3. Nothing polls: whoever waits, waits for a descriptor or a signal in the loop.
4. What lives longer than the daemon does not depend on it: a child holds its own pipes open.
"""
