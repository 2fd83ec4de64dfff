"""Entry point of `supervisectl`, of whose 50 ms most are imports: looking for garbage among them takes a tenth."""

import gc


def supervisectl() -> None:
    """Be supervisectl."""
    gc.disable()
    from supervise.cli.supervisectl import main

    gc.freeze()  # what was imported stays: there is nothing to be found in it
    gc.enable()
    main()
