"""What in a configuration looks like a secret, and how it is hidden from those who may only look (B68)."""

import re
from collections.abc import Iterable

HIDDEN = "********"

_NAME = re.compile(
    r"pass(?:word|wd|phrase|code)?(?![a-z])|pwd|secret|token|credential|private|auth(?![a-z])|signature|cookie|salt|dsn"
    r"|(?<![a-z])key|key(?![a-z])|apikey|(?<![a-z])pin(?![a-z])",
    re.ASCII,
)
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*'|["'])+""", re.DOTALL)
_OPTION = re.compile(r"(-{0,2}[A-Za-z][\w.-]*)=(?=.)", re.ASCII | re.DOTALL)


def is_secret(name: str) -> bool:
    """Whether a variable or option of that name probably holds a secret: PASSWORD, DB_PASS, api-token, SSH_KEY…"""
    return _NAME.search(name.lower().replace("_", "-")) is not None


def without_urls(text: str) -> str:
    """`text` with the passwords in URLs hidden (amqp://user:********@host)."""
    return _IN_URL.sub(rf"\1:{HIDDEN}@", text)


def command(text: str) -> str:
    """A command line with what looks like a secret hidden: --password=x, --token x, PGPASSWORD=x, and in URLs.

    A secret that is merely a word (mysql -px) cannot be told from others.
    """
    found = list(_WORD.finditer(text))
    shown, last = [], 0
    for word, said in zip(found, words(word.group() for word in found), strict=True):
        shown += [text[last : word.start()], said]
        last = word.end()
    return "".join(shown) + text[last:]


def words(argv: Iterable[str]) -> list[str]:
    """The same for a command line that has been split."""
    shown, follows = [], False
    for word in argv:
        option = _OPTION.match(word)
        if follows and not word.startswith("-"):
            said = HIDDEN
        elif option and is_secret(option[1]):
            said = f"{option[1]}={HIDDEN}"
        else:
            said = without_urls(word)
        shown.append(said)
        follows = option is None and word.startswith("-") and is_secret(word)
    return shown
