import pytest

from supervise.config.endings import ON_END, EndOptions, OnEnd


def test_by_default_an_end_ends_nothing_else() -> None:
    assert (EndOptions().on_exit, EndOptions().on_fatal) == (OnEnd.NONE, OnEnd.NONE)


@pytest.mark.parametrize(("text", "value"), [("none", OnEnd.NONE), ("shutdown", OnEnd.SHUTDOWN)])
def test_values(text: str, value: OnEnd) -> None:
    assert ON_END.parse(text) is value


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="none, shutdown"):
        ON_END.parse("explode")
