"""Reading the configuration while the daemon runs: files, and the users that they name, may be far away."""

from collections.abc import Callable

from supervise.config.model import Config
from supervise.daemon.aside import Aside, Busy
from supervise.errors import CommandError, Fault

SECONDS = 60.0
WAITING = 16  # clients


class Loader:
    """Reads it once at a time, in a thread for which nobody waits at the end."""

    def __init__(self, load: Callable[[], Config]) -> None:
        self._load, self._aside = load, Aside(1, WAITING)

    async def read(self) -> Config:
        """Read it now. Raises ConfigErrors; CommandError(CANT_REREAD) if that takes too long, or cannot be begun."""
        try:
            return await self._aside.run(self._load, SECONDS)
        except (Busy, TimeoutError):  # which is an OSError, too
            why = f"the files, or the database of users, have not answered for {SECONDS:g} seconds"
            raise CommandError(Fault.CANT_REREAD, why) from None
        except OSError as error:
            raise CommandError(Fault.CANT_REREAD, f"the files cannot be read now: {error.strerror}") from None
