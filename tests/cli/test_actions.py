"""The table of actions and the commands are the same list."""

from supervise.cli.actions import FORMS, about, usage
from supervise.cli.supervisectl import supervisectl


def test_every_command_has_its_forms() -> None:
    assert set(supervisectl.commands) == set(FORMS)
    for name in FORMS:
        assert supervisectl.commands[name].help or name == "exit"


def test_forms_begin_with_the_action() -> None:
    for name, forms in FORMS.items():
        assert all(form.split()[0] == name for form, _ in forms)
        assert all(sentence.endswith(".") for _, sentence in forms)


def test_usage() -> None:
    assert about("stop") == "Stop processes, groups or patterns, all at once."
    assert usage("stop").splitlines() == [
        "stop NAME...    Stop processes, groups or patterns, all at once.",
        "stop all        Stop everything.",
    ]
