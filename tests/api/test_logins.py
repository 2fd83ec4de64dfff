"""Logins: what is remembered, how many failures there may be, and that the loop never waits."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest

from supervise.api import logins
from supervise.api.auth import Caller
from supervise.api.logins import FREE, WAITING, WORKERS, Logins
from supervise.api.problem import Problem

ANN, EVE = Caller("ann", address="192.0.2.1"), Caller("eve", address="192.0.2.66")


def run(story: Callable[[Logins[str]], Awaitable[None]]) -> None:
    async def whole() -> None:
        one = Logins[str]()
        try:
            await story(one)
        finally:
            one.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


async def right() -> str | None:
    return "ann"


async def wrong() -> str | None:
    return None


async def status(
    one: Logins[str], caller: Caller, login: bytes, verify: Callable[[], Awaitable[str | None]] = wrong
) -> int:
    try:
        return 200 if await one.check(caller, login, verify) else 401
    except Problem as problem:
        return problem.status


def test_a_right_password_is_compared_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(one: Logins[str]) -> None:
        assert await one.check(ANN, b"l", right) == "ann"
        assert await one.check(ANN, b"l", wrong) == "ann"
        assert await one.check(ANN, b"other", wrong) is None
        one.forget()
        assert await one.check(ANN, b"l", wrong) is None
        assert await one.check(ANN, b"l", right) == "ann"
        monkeypatch.setattr(logins, "REMEMBERED", 0.0)
        assert await one.check(ANN, b"l", wrong) is None

    run(story)


def test_no_password_is_kept_in_clear() -> None:
    async def story(one: Logins[str]) -> None:
        await one.check(ANN, b"ann\0hunter2", right)
        assert "hunter2" not in repr(vars(one))

    run(story)


def test_too_many_failures(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "supervise")

    async def story(one: Logins[str]) -> None:
        assert await status(one, EVE, b"eve's own", right) == 200
        assert [await status(one, EVE, b"guess") for _ in range(FREE)] == [401] * FREE
        assert [await status(one, EVE, b"right", right) for _ in range(100)] == [429] * 100
        assert await status(one, EVE, b"eve's own", right) == 200  # who was in stays in
        assert await status(one, ANN, b"ann's", right) == 200  # and others do not suffer
        monkeypatch.setattr(logins, "PENALTY", 0.0)
        monkeypatch.setattr(one, "_sources", type(one._sources)())
        assert await status(one, EVE, b"right", right) == 200

    run(story)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        *["login failed: user 'eve' at 192.0.2.66"] * FREE,
        f"{FREE} failed logins from 192.0.2.66: refused for 30 seconds",
    ]


def test_successes_are_no_failures() -> None:
    async def story(one: Logins[str]) -> None:
        assert [await status(one, ANN, b"%d" % n, right) for n in range(50)] == [200] * 50

    run(story)


def test_many_guesses_at_once_are_counted_before_they_are_compared() -> None:
    async def story(one: Logins[str]) -> None:
        compared = []

        def guess() -> str | None:
            compared.append(1)
            time.sleep(0.01)
            return None

        async def attempt(number: int) -> None:
            with suppress(Problem):
                assert await one.check(EVE, b"%d" % number, partial(one.compare, guess)) is None

        await asyncio.gather(*map(attempt, range(500)))
        assert len(compared) <= FREE

    run(story)


def test_slow_comparisons_take_the_loop_no_time_and_only_a_few_threads() -> None:
    async def story(one: Logins[str]) -> None:
        release, running, most = threading.Event(), 0, 0

        def slowly() -> str | None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            release.wait(30)
            running -= 1
            return "x"

        calls = [
            asyncio.create_task(one.check(Caller(address=f"192.0.2.{n}"), b"%d" % n, partial(one.compare, slowly)))
            for n in range(200)
        ]
        same = [asyncio.create_task(one.check(ANN, b"0", partial(one.compare, slowly))) for _ in range(5)]
        await asyncio.sleep(0.05)  # the loop is free
        release.set()
        results = await asyncio.gather(*calls, *same, return_exceptions=True)
        statuses = [result.status if isinstance(result, Problem) else 200 for result in results]
        assert most <= WORKERS
        assert statuses[:200].count(200) == WORKERS + WAITING
        assert statuses[:200].count(503) == 200 - WORKERS - WAITING
        assert statuses[200:] == [200] * 5  # the same login, asked several times, is compared once

    run(story)


def test_questions_to_others_are_few_and_keep_nobody_out_who_is_known() -> None:
    async def story(one: Logins[str]) -> None:
        release, running, most = asyncio.Event(), 0, 0

        async def others() -> str | None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1
            return "x"

        calls = [
            asyncio.create_task(status(one, Caller(address=f"192.0.2.{n}"), b"%d" % n, partial(one.ask, others)))
            for n in range(200)
        ]
        assert await one.check(ANN, b"ann's", partial(one.compare, lambda: "ann")) == "ann"
        release.set()
        statuses = await asyncio.gather(*calls)
        assert most == WORKERS
        assert statuses.count(200) == WORKERS + WAITING
        assert statuses.count(503) == 200 - WORKERS - WAITING
        assert await status(one, ANN, b"again", partial(one.ask, others)) == 200

    run(story)


def test_whoever_cannot_be_asked_has_not_said_no(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "SECONDS", 0)

    async def impossible() -> str | None:
        raise OSError("PAM cannot be asked: no libpam")

    async def never() -> str | None:
        await asyncio.Event().wait()
        return None

    async def story(one: Logins[str]) -> None:
        assert await status(one, ANN, b"ann's", impossible) == 503
        assert await status(one, ANN, b"ann's", partial(one.ask, never)) == 503

    run(story)
    assert [record.getMessage() for record in caplog.records] == [
        "a login could not be checked: PAM cannot be asked: no libpam",
        "a login could not be checked: no answer within 0 seconds",
    ]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MAX_SOURCES", 100)
    monkeypatch.setattr(logins, "MAX_REMEMBERED", 50)

    async def story(one: Logins[str]) -> None:
        for n in range(1000):
            await status(one, Caller(address=f"10.0.{n // 250}.{n % 250}"), b"%d" % n, right)
        assert len(one._sources) <= 100
        assert len(one._known) <= 50

    run(story)
