"""Unnamed objects through Process, Pool and ProcessPoolExecutor; prints `ok`."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing

from winipc import Event, Mutex, Semaphore


def answer(question, reply, mutex):
    """In the child: wait, look at the mutex, answer."""
    assert question.name is None
    assert question.wait(60)
    if not mutex.acquire(0):
        reply.release(2)


def work(event, semaphore, named):
    """In a worker: set what came through the queue."""
    with event, closing(semaphore), named:
        event.set()
        named.set()
        return semaphore.release()


def spawn() -> None:
    context = multiprocessing.get_context("spawn")
    with (
        Event.create() as question,
        closing(Semaphore.create(initial=0)) as reply,
        closing(Mutex.create()) as mutex,
        mutex,
    ):
        child = context.Process(target=answer, args=(question, reply, mutex))
        child.start()
        question.set()
        assert reply.acquire(60)
        assert reply.acquire(60)
        child.join(60)
        assert child.exitcode == 0
        child.close()


def through_queue(name: str) -> None:
    with (
        Event.create() as event,
        Event.create(name) as named,
        closing(Semaphore.create(initial=5)) as semaphore,
    ):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(work, (event, semaphore, named)) == 5
        assert event.wait(0)
        assert named.wait(0)
        with ProcessPoolExecutor(1) as executor:
            future = executor.submit(work, event, semaphore, named)
            assert future.result(60) == 6
        assert event.wait(0)
        assert named.wait(0)
        assert semaphore.value == 7


if __name__ == "__main__":
    spawn()
    through_queue(sys.argv[1])
    print("ok")
