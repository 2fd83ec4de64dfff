"""Text in, frozen dataclasses out.

1. An option is declared once, as a field in `model`: name, type, default, sentence, where it is valid, what may be
   expanded in it, and what a changed value asks of a running process. Readers, checks, the JSON Schema, the reference
   and `diff` derive from that declaration; a second list of options anywhere is a mistake.
2. Values travel one way: `ini`/`toml` read texts with their lines, `source` merges files, `expand` fills in
   `%(name)s`, `values` converts, `programs` and `load` apply the rules that span options. No step looks back.
3. All problems of all files are collected and shown together, each with file, line, section and option. An unknown
   option is a warning, because real files have them; a wrong value is an error.
4. What depends on the machine (users, directories, environment, modules) is asked of a `Machine`, an argument.
   A problem that another machine would not have is a `MachineError`: `check` warns, the daemon refuses.
"""
