"""%(name)s in a value: Python's formats over known names, %% for a percent sign, and nothing else."""

import re
from collections.abc import Callable, Mapping

from supervise.config.problems import did_you_mean
from supervise.config.secrets import HIDDEN, without_urls

_FORMAT = re.compile(
    r"%(?:%|\((?P<name>[^()]*)\)(?P<format>[#0\- +]*\d{0,3}(?:\.\d{0,3})?[hlL]?[diouxXeEfFgGcrsa])|(?P<bad>))", re.ASCII
)
_MEANT_NOTHING = "% without a (name) means nothing here"


def expand(text: str, names: Mapping[str, object], label: str, shown: Callable[[str], object] = str) -> str:
    """`text` with every %(name)s replaced, once: what comes out of a value is never looked at again.

    Raises ValueError with supervisord's text about `label`, followed by what to write instead. Of the text it shows
    what `shown` makes of it, and names that were surely meant as such.
    """
    if "%" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        name, style = match["name"], match["format"]
        if match.group() == "%%":
            return "%"
        if name in names:
            try:
                return f"%{style}" % (names[name],)
            except (TypeError, ValueError, OverflowError) as why:
                raise ValueError(_badly_formatted(shown(text), label, str(why))) from None
        if name is not None:
            raise ValueError(_unknown(shown(text), label, name, names))
        said = shown(text)
        all_said = text in str(said)
        mistake = _python_says(text, names) if all_said else f"{_MEANT_NOTHING}, at index {match.start()}"
        raise ValueError(_badly_formatted(said, label, mistake))

    return _FORMAT.sub(replace, text)


def _unknown(said: object, label: str, name: str, names: Mapping[str, object]) -> str:
    available = sorted(names)
    if name.startswith("ENV_"):
        fix = f"; {name.removeprefix('ENV_')} is not set in the environment of the daemon"
    else:
        fix = did_you_mean(name, available, "%({})s")
    if not fix and f"%({name})" not in without_urls(str(said)):
        name = HIDDEN
    return (
        f"Format string {said!r} for {label!r} contains names ({name!r}) which cannot be expanded."
        f" Available names: {', '.join(available)}{fix}"
    )


def _badly_formatted(said: object, label: str, why: str) -> str:
    return f"Format string {said!r} for {label!r} is badly formatted: {why}; write %% for a percent sign"


def _python_says(text: str, names: Mapping[str, object]) -> str:
    """Python's own words about a bad format, which supervisord repeats."""
    if re.search(r"\d{4}", text):  # a width that Python would obey
        return "bad format"
    try:
        _ = text % _Anything(names)
    except (ValueError, OverflowError) as why:
        return str(why)
    except TypeError:  # it would format all names as one number
        pass
    return _MEANT_NOTHING


class _Anything(dict[str, object]):
    """Names of which none is missing, so that Python gets as far as the bad format."""

    def __missing__(self, name: str) -> object:
        return ""
