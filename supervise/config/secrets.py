"""What in a configuration looks like a secret, and how it is hidden from those who may only look (B68)."""

import re
from collections.abc import Iterable

HIDDEN = "********"

_NAME = re.compile(
    r"pass(?:word|wd|phrase|code)?(?![a-z])|pwd|secret|token|credential|private|auth(?![a-z])|authorization(?![a-z-])"
    r"|signature|cookie|salt|dsn|(?<![a-z])key|key(?![a-z])|apikey|(?<![a-z])pin(?![a-z])",
    re.ASCII,
)
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s]+@")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'""", re.DOTALL)
_WORD = re.compile(rf"""(?:[^\s"'\\]|\\.|{_QUOTED.pattern}|["'].*)+""", re.DOTALL)  # a quote may stay open to the end
# NAME=x, --name=x, "name": x, Name: x, --name x: what may follow a name within a word, and what must follow that
_NAMED = re.compile(
    r"""(?<![\w.-])(?P<name>-{0,2}\w[\w.-]*)(?P<sign>=(?=.)|\\*["']?\s*:[\s\\]*(?=.)|[\s\\]+(?=[^\s-]))""",
    re.ASCII | re.DOTALL,
)
_OPTION = re.compile(r"--?\w[\w.-]*", re.ASCII)
_HEADER = re.compile(r"-H|--[\w-]*header", re.ASCII)


def whole(written: object) -> str:
    """What a message may show of a value that is a secret as a whole."""
    return HIDDEN


def in_command(written: object) -> object:
    """What a message may show of a command, which may also be a list of words, or be something else by mistake."""
    match written:
        case str():
            return command(written)
        case list():
            return words(map(str, written))
        case _:
            return written if isinstance(written, int | float) else HIDDEN


def is_secret(name: str) -> bool:
    """Whether a variable or option of that name probably holds a secret: PASSWORD, DB_PASS, api-token, SSH_KEY…"""
    return _NAME.search(name.lower().replace("_", "-")) is not None


def without_urls(text: str) -> str:
    """`text` with the passwords in URLs hidden (amqp://user:********@host)."""
    return _IN_URL.sub(rf"\1:{HIDDEN}@", text)


def command(text: str) -> str:
    """A command line with what looks like a secret hidden: --password=x, --token x, PGPASSWORD=x, `Authorization: x`,
    in URLs, also within the words of a line for a shell, where it takes the rest of the word along.

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
    shown, before = [], ""
    for word in argv:
        if _OPTION.fullmatch(before) and is_secret(before) and not word.startswith("-"):
            shown.append(HIDDEN)
        else:
            shown.append(_word(word, header=word.startswith("-H") or _is_header(before)))
        before = word.strip("\"'")
    return shown


def _word(word: str, *, header: bool) -> str:
    """One word; after an option such as -H, `name:x` without a blank is a header too."""
    for found in _NAMED.finditer(word):
        name, sign = found["name"], found["sign"]
        header = header or _is_header(name)
        names = "=" in sign or (":" in sign and (header or len(sign) > 1)) or name.startswith("-")
        if (names and is_secret(name)) or name.lower() == "bearer":
            said = word[: found.end()]
            opened = re.search("[\"']", _QUOTED.sub("", said))
            return f"{without_urls(said)}{HIDDEN}{opened.group() if opened else ''}"
    return without_urls(word)


def _is_header(option: str) -> bool:
    return _HEADER.fullmatch(option) is not None
