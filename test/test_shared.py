"""What nodes of one process have in common is made once, and closed by the last."""

import threading

import pytest

from gsc_ros.ros.shared import share


class Thing:
    closed = 0

    def close(self):
        self.closed += 1


def test_it_is_made_once_and_closed_by_the_last():
    made = []

    def make():
        made.append(Thing())
        return made[-1]

    first, second = share('thing', make), share('thing', make)
    assert first.value is second.value and first.lock is second.lock
    first.release()
    assert not first.value.closed
    second.release()
    assert first.value.closed == 1
    third = share('thing', make)
    assert third.value is not first.value and len(made) == 2
    third.release()


def test_other_keys_are_other_things_and_what_cannot_be_closed_is_left():
    one, other = share(('a', 1), object), share(('a', 2), object)
    assert one.value is not other.value and one.lock is not other.lock
    one.release()
    other.release()


def test_what_cannot_be_made_is_tried_again():
    def fail():
        raise ValueError('no weights')

    with pytest.raises(ValueError, match='no weights'):
        share('bad', fail)
    lease = share('bad', Thing)
    lease.release()


def test_threads_that_ask_at_once_get_one():
    made, leases, go = [], [], threading.Barrier(8)

    def make():
        made.append(Thing())
        return made[-1]

    def ask():
        go.wait()
        leases.append(share('many', make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and {lease.value for lease in leases} == set(made)
    for lease in leases:
        lease.release()
    assert made[0].closed == 1
