import asyncio

from supervise.core.events import Communication, GroupAdded, Notification, Output, RemoteCommunication
from supervise.daemon.bus import BYTES, Bus, Gap, Subscription
from tests.daemon.running import run


async def take(subscription: Subscription, count: int) -> list[Notification | Gap]:
    items: list[Notification | Gap] = []
    async for item in subscription:
        items.append(item)
        if len(items) == count:
            break
    return items


def test_callbacks_hear_at_once_and_subscribers_in_order() -> None:
    async def story() -> None:
        bus, heard = Bus(), list[Notification]()
        bus.listen(heard.append)
        with bus.subscribe() as subscription:
            bus.publish(GroupAdded("a"))
            bus.publish(GroupAdded("b"))
            assert heard == [GroupAdded("a"), GroupAdded("b")]
            assert await take(subscription, 2) == heard

    run(story)


def test_a_slow_subscriber_loses_the_oldest_and_is_told() -> None:
    async def story() -> None:
        bus = Bus()
        with bus.subscribe(limit=2) as subscription:
            for name in "abcde":
                bus.publish(GroupAdded(name))
            assert await take(subscription, 3) == [Gap(3), GroupAdded("d"), GroupAdded("e")]

    run(story)


def test_what_is_missed_while_reading_is_told_in_its_place() -> None:
    async def story() -> None:
        bus, items = Bus(), list[Notification | Gap]()
        with bus.subscribe(limit=2) as subscription:
            bus.publish(GroupAdded("a"))
            bus.publish(GroupAdded("b"))
            async for item in subscription:
                items.append(item)
                if item == GroupAdded("a"):
                    for name in "cde":
                        bus.publish(GroupAdded(name))
                if item == GroupAdded("e"):
                    break
        assert items == [GroupAdded("a"), Gap(2), GroupAdded("d"), GroupAdded("e")]

    run(story)


def test_waiting_wakes_up_and_closing_ends_after_what_is_queued() -> None:
    async def story() -> None:
        bus = Bus()
        with bus.subscribe() as subscription:
            waiting = asyncio.ensure_future(take(subscription, 5))
            await asyncio.sleep(0)
            bus.publish(GroupAdded("a"))
            bus.close()
            assert await waiting == [GroupAdded("a")]

    run(story)


def test_leaving_unsubscribes() -> None:
    async def story() -> None:
        bus = Bus()
        with bus.subscribe() as subscription:
            pass
        bus.publish(GroupAdded("a"))
        subscription.close()
        assert await take(subscription, 1) == []

    run(story)


def test_plain_output_is_for_callbacks_alone() -> None:
    async def story() -> None:
        bus, heard = Bus(), list[Notification]()
        bus.listen(heard.append)
        passage = Communication("g", "p", 7, "stdout", b"x")
        with bus.subscribe() as subscription:
            bus.publish(Output("g", "p", 7, "stdout", b"x"))
            bus.publish(passage)
            assert await take(subscription, 1) == [passage]
        assert len(heard) == 2

    run(story)


def test_a_slow_subscriber_keeps_a_bounded_number_of_bytes() -> None:
    async def story() -> None:
        bus = Bus()
        with bus.subscribe() as subscription:
            for _ in range(5):
                bus.publish(RemoteCommunication("t", "x" * (BYTES // 2)))
            bus.publish(GroupAdded("a"))
            gap, *_, last = await take(subscription, 4)
            assert (gap, last) == (Gap(3), GroupAdded("a"))
            bus.publish(RemoteCommunication("t", "x" * 2 * BYTES))  # larger than the bound by itself: still told
            assert len(await take(subscription, 1)) == 1

    run(story)
