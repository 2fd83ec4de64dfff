"""The control API: adapters that translate, and decide nothing.

1. Every verb is one call of `daemon.commands`; this package turns bytes into its arguments and its answers
   into bytes. What can be asked stands in tables (`rest.ROUTES`, `methods.METHODS`), so that documents,
   introspection, permissions and the audit trail come from the same declaration as the behaviour.
2. What a client names is looked up in those tables, never by `getattr` (CVE-2017-11610).
3. Everything a client can make large, deep, slow or endless has a bound, and the bounds are per listener: what
   happens on a TCP port cannot lock anybody out of the unix socket.
4. aiohttp is imported here and nowhere else.
"""
