from supervise.config.problems import MachineError, NotHere, Place, Problems, did_you_mean


def test_equal_problems_are_kept_once() -> None:
    problems = Problems()
    place = Place("f", 3, "program:x", "user")
    for _ in range(2):
        problems.error(place, "wrong")
        problems.warn(place, "odd")
        problems.warn_as_stock(place, "For [program:x], odd")
    problems.info("Included")
    assert [str(error) for error in problems.errors] == ["f:3: [program:x] user: wrong"]
    assert problems.messages == [(30, "f:3: [program:x] user: odd"), (30, "For [program:x], odd"), (20, "Included")]
    assert len(problems.warnings) == 2


def test_what_only_this_machine_lacks_is_marked() -> None:
    problems = Problems()
    problems.error(Place("f"), NotHere("no such user"))
    problems.error(Place("f"), ValueError("wrong"))
    assert [isinstance(error, MachineError) for error in problems.errors] == [True, False]


def test_suggestions() -> None:
    assert did_you_mean("comand", ["command", "user"]) == "; did you mean command?"
    assert did_you_mean("her", ["here"], "%({})s") == "; did you mean %(here)s?"
    assert did_you_mean("depends_on", ["command", "user"]) == ""
