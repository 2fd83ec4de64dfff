"""When to try again: the restart policy, as pure functions of counts and times."""

from supervise.config.model import AutoRestart, ProgramConfig

QUICK = 1.0  # an exit sooner than this many seconds after the start counts as quick
QUICK_BURST = 10  # so many quick exits in a row are answered at once, later ones once a second


def backoff_delay(attempt: int) -> float:
    """Seconds to wait after the `attempt`-th failed start in a row (supervisord: 1, 2, 3, …)."""
    return float(attempt)


def is_expected(config: ProgramConfig, status: int | None) -> bool:
    """Whether an exit is one that `exitcodes` names. A signal, or an unknown status, never is."""
    return status in config.exitcodes


def should_restart(config: ProgramConfig, status: int | None) -> bool:
    """Whether a process that reached RUNNING and then exited is to be started again."""
    if config.autorestart is AutoRestart.UNEXPECTED:
        return not is_expected(config, status)
    return config.autorestart is AutoRestart.ALWAYS


def restart_delay(quick_exits: int, uptime: float) -> float:
    """Seconds between an exit and the automatic restart.

    Normally none. supervisord restarts without a limit too, but looks only once a second; at our
    reaction time, a program with `startsecs=0` that exits at once would take a whole processor (B4b).
    """
    return max(0.0, QUICK - uptime) if quick_exits > QUICK_BURST else 0.0
