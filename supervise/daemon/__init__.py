"""The shell: it carries what happens to the core's machines, and what they ask for to the kernel.

1. All that happens to a process enters through `Supervisor.tell`, is queued, and is taken one at a time,
   so that an effect which has an answer at once (a spawn that fails) never re-enters a machine.
2. An operator's verb is one method of `Commands`; XML-RPC, JSON and the command line only translate.
3. Only this layer asks a clock, and for every duration it is the loop's (monotonic).
4. Everything here runs in the loop's thread and never blocks: files are read and written elsewhere.
"""
