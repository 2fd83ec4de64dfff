"""Raising our own limits, which children inherit."""

import logging
import resource
from typing import NamedTuple


class Limit(NamedTuple):
    """A limit, supervisord's name of it, and the option it comes from."""

    number: int
    name: str
    option: str


NOFILE = Limit(resource.RLIMIT_NOFILE, "RLIMIT_NOFILE", "minfds")
NPROC = Limit(resource.RLIMIT_NPROC, "RLIMIT_NPROC", "minprocs")


def raise_to(limit: Limit, wanted: int) -> tuple[int, str] | None:
    """See that at least `wanted` are allowed; returns (level, line for the main log), or None if they were already.

    supervisord refuses to start where the hard limit is too low and we are not root. We take what we can get, and warn:
    what the programs need is seldom what the configuration says.
    """
    soft, hard = resource.getrlimit(limit.number)
    if wanted <= 0 or soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    enough = hard == resource.RLIM_INFINITY or hard >= wanted
    try:
        resource.setrlimit(limit.number, (wanted, hard if enough else wanted))
    except (OSError, ValueError, OverflowError):
        try:
            resource.setrlimit(limit.number, (hard, hard))
        except (OSError, ValueError):
            hard = soft
        text = f"{limit.option}={wanted} is more than the hard limit allows; {limit.name} is {hard}"
        return logging.WARNING, text
    return logging.INFO, f"Increased {limit.name} limit to {wanted}"
