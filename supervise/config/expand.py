"""%(name)s in a value: Python's formats over known names, %% for a percent sign, and nothing else."""

import re
from collections.abc import Mapping

from supervise.config.problems import did_you_mean

_FORMAT = re.compile(
    r"%(?:%|\((?P<name>[^()]*)\)(?P<format>[#0\- +]*\d{0,3}(?:\.\d{0,3})?[hlL]?[diouxXeEfFgGcrsa])|(?P<bad>))", re.ASCII
)


def expand(text: str, names: Mapping[str, object], label: str) -> str:
    """`text` with every %(name)s replaced, once: what comes out of a value is never looked at again.

    Raises ValueError with supervisord's text about `label`, followed by what to write instead.
    """
    if "%" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        name, style = match["name"], match["format"]
        if match.group() == "%%":
            return "%"
        if name is None:
            raise ValueError(_badly_formatted(text, label, _python_says(text, names)))
        if name not in names:
            raise ValueError(_unknown(text, label, name, names))
        try:
            return f"%{style}" % (names[name],)
        except (TypeError, ValueError, OverflowError) as why:
            raise ValueError(_badly_formatted(text, label, str(why))) from None

    return _FORMAT.sub(replace, text)


def _unknown(text: str, label: str, name: str, names: Mapping[str, object]) -> str:
    available = sorted(names)
    if name.startswith("ENV_"):
        fix = f"; {name.removeprefix('ENV_')} is not set in the environment of the daemon"
    else:
        fix = did_you_mean(name, available, "%({})s")
    return (
        f"Format string {text!r} for {label!r} contains names ({name!r}) which cannot be expanded."
        f" Available names: {', '.join(available)}{fix}"
    )


def _badly_formatted(text: str, label: str, why: str) -> str:
    return f"Format string {text!r} for {label!r} is badly formatted: {why}; write %% for a percent sign"


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
    return "% without a (name) means nothing here"


class _Anything(dict[str, object]):
    """Names of which none is missing, so that Python gets as far as the bad format."""

    def __missing__(self, name: str) -> object:
        return ""
