"""`supervise passwd`: make the line that stands for a password in a configuration."""

import sys

import click

from supervise.config.passwords import hashed

LONGEST = 1024


@click.command()
def passwd() -> None:
    """Print what to write after `password =` in [user:x] or in a server's section.

    Asks for the password twice on a terminal, and reads one line from anything else.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    else:
        password = sys.stdin.readline(LONGEST + 2).rstrip("\r\n")
    if not password:
        raise click.ClickException("an empty password is none")
    if len(password) > LONGEST or not password.isprintable():
        raise click.ClickException(f"a password has at most {LONGEST} characters, and no control characters")
    click.echo(hashed(password))
