"""The generated part of README.md: `python -m tests.readme` writes it again."""

import re
from pathlib import Path

from supervise.config.schema import reference
from tests.tools import ROOT

README = ROOT / "README.md"
BEGIN, END = r"(<!-- options: [^\n]*-->\n)", r"(<!-- end of options -->)"


def with_options(text: str) -> str:
    """README's text with the reference of options as the declarations have it now."""
    whole, count = re.subn(f"(?s){BEGIN}.*?{END}", lambda found: f"{found[1]}\n{reference()}\n{found[2]}", text)
    assert count == 1, "README.md has lost its marks"
    return whole


def marked(name: str) -> str:
    """The shell block that follows `<!-- runs: name -->`."""
    found = re.search(rf"<!-- runs: {name} -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"README.md has no block {name!r}"
    return found[1]


def command_with(word: str) -> str:
    """The one-line command of README that contains the word."""
    (found,) = re.findall(rf"```sh\n(python3 -m venv [^\n]*{word}[^\n]*)\n```", README.read_text())
    return str(found)


if __name__ == "__main__":
    Path(README).write_text(with_options(README.read_text()))
