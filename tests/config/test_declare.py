import dataclasses

import pytest

from supervise.config import values
from supervise.config.declare import Change, Names, declared, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    IN = ("sample",)
    NAMES = Names.HERE

    plain: int = 0
    must: str = option("Needed.")
    size: int = option("A size.", values.SIZE, 5, changed=Change.RESTART, names=Names.PROCESS, where=("other",))
    named: str = option("Named.", default="x", key="a.b", required=True)


def test_a_field_says_everything() -> None:
    must, size, named = declared(Sample)
    assert (must.key, must.type, must.where, must.names, must.changed) == (
        "must",
        values.TEXT,
        ("sample",),
        Names.HERE,
        Change.LIVE,
    )
    assert (size.default, size.where, size.names, size.changed) == (5, ("other",), Names.PROCESS, Change.RESTART)
    assert (named.key, named.doc) == ("a.b", "Named.")
    assert [found.required for found in (must, size, named)] == [True, False, True]


def test_an_option_without_default_must_be_given() -> None:
    assert Sample(must="x").size == 5
    with pytest.raises(TypeError):
        Sample()
