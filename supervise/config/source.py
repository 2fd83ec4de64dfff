"""Reading the files: the main one (or a directory), then those that [include] names. Every bound is written here."""

import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping

from supervise.config import ini
from supervise.config.discover import in_directory
from supervise.config.document import Document, map_texts
from supervise.config.expand import expand
from supervise.config.problems import Place, Problems

MAX_FILE_BYTES = 16 * 1024**2
MAX_FILES = 1000
PATTERNS = ("*.conf", "*.ini", "*.toml", "conf.d/*")
# What editors, packagers and people leave in conf.d: read after the file it was made of, it would override that one.
_ASIDE = re.compile(r"~$|\.(?:bak|old|orig|save|swp|disabled|dpkg-\w+|ucf-\w+|rpm(?:new|save|orig))$|(?:^|/)README")


class Unreadable(Exception):
    """A file cannot be had; `str()` is supervisord's text."""


def read(path: str, environ: Mapping[str, str], node: str, problems: Problems, *, shown: str = "") -> Document:
    """The sections of `path`, which is absolute, and of what it includes.

    A directory means the main file in it; if it has none, all that match PATTERNS, as if they were included, but for
    what is obviously kept beside them.
    Raises Unreadable if `path` itself cannot be read; what is wrong with the contents goes to `problems`.
    """
    main = in_directory(path)
    if os.path.isdir(main):
        document = Document(main, main)
        found = [match for pattern in PATTERNS for match in sorted(glob.glob(pattern, root_dir=main))]
        for name in filter(_ASIDE.search, found):
            problems.info(f'Left aside file "{os.path.join(main, name)}"')
        found = [name for name in found if not _ASIDE.search(name)]
        if not found:
            problems.error(Place(main), f"no configuration in {shown or main}: no {', '.join(PATTERNS)}")
        _include([os.path.join(main, name) for name in found], document, problems)
        if found and "supervisord" not in document.sections:
            document.open("supervisord", main, 0)
            problems.warn(Place(main), "no file has a [supervisord] section: each of its options has its default")
        return document
    document = Document(main, os.path.dirname(main))
    _read_into(document, main, shown or main, problems)
    if "include" in document.sections:
        document.fix_here(document.here)
        _include(_matches(document, environ, node, problems), document, problems)
    return document


def _include(paths: list[str], document: Document, problems: Problems) -> None:
    if len(paths) > MAX_FILES:
        problems.error(Place(document.file, section="include"), f"{len(paths)} files are included, over {MAX_FILES}")
        return
    main = document.sections.pop("include", None)
    for path in paths:
        problems.info(f'Included extra file "{path}" during parsing')
        try:
            if not os.path.isfile(path):  # a directory, or a pipe that would be waited for
                raise Unreadable("it is not a regular file")
            _read_into(document, path, path, problems)
        except Unreadable as why:
            problems.warn(Place(path), f"skipped: {why}")
        if nested := document.sections.pop("include", None):
            problems.warn(nested.place(), "an included file cannot include others: ignored")
        document.fix_here(os.path.dirname(os.path.abspath(path)))
    if main:
        document.sections["include"] = main


def _matches(document: Document, environ: Mapping[str, str], node: str, problems: Problems) -> list[str]:
    """The files that [include] files= names: patterns in their order, the matches of each sorted."""
    place = document.sections["include"].place("files")
    entry = document.sections["include"].get("files")
    if entry is None:
        problems.error(place, ".ini file has [include] section, but no files setting")
        return []
    names: dict[str, object] = {f"ENV_{name}": value for name, value in environ.items()}
    names |= {"here": document.here, "host_node_name": node}
    try:
        raw = map_texts(entry.raw, lambda text: expand(text, names, "include.files"))
    except ValueError as why:
        problems.error(place, why)
        return []
    patterns = raw.split() if isinstance(raw, str) else raw
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        problems.error(place, f"expected a list of file patterns, not {raw!r}")
        return []
    if any("\0" in pattern for pattern in patterns):
        problems.error(place, "contains a NUL byte")
        return []
    return [path for pattern in patterns for path in _files(os.path.join(document.here, pattern), place, problems)]


def _files(pattern: str, place: Place, problems: Problems) -> Iterator[str]:
    found = sorted(glob.glob(pattern))
    if not found:
        problems.warn_as_stock(place, f'No file matches via include "{pattern}"')
    yield from found


def _read_into(document: Document, path: str, shown: str, problems: Problems) -> None:
    if not os.path.exists(path):
        raise Unreadable(f"could not find config file {shown}")
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as why:
        raise Unreadable(f"could not read config file {shown}: {why.strerror}") from None
    document.files.append(path)
    text = _decode(data, path, problems)
    if text is not None:
        _reader(path)(text, path, document, problems)


def _reader(path: str) -> Callable[[str, str, Document, Problems], None]:
    if not path.endswith(".toml"):
        return ini.read
    from supervise.config import toml  # noqa: PLC0415  # its parser is not light

    return toml.read


def _decode(data: bytes, path: str, problems: Problems) -> str | None:
    """UTF-8 with or without a byte order mark, and line ends of any kind as \\n."""
    if len(data) > MAX_FILE_BYTES:
        problems.error(Place(path), f"longer than {MAX_FILE_BYTES // 1024**2} MiB")
        return None
    if b"\0" in data:
        problems.error(Place(path, data.count(b"\n", 0, data.index(b"\0")) + 1), "contains a NUL byte")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        line = data.count(b"\n", 0, why.start) + 1
        problems.error(Place(path, line), f"not UTF-8: byte 0x{data[why.start]:02x}; save the file as UTF-8")
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")
