"""Requests up the link: one byte, and never a storm of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.link.payloads import PayloadError, Request
from gsc_ros.link.requests import MOST_WAITS, Backoff


@pytest.mark.parametrize('request_', list(Request))
def test_requests_are_read_as_they_were_made(request_):
    assert Request.unpack(request_.pack()) is request_


@pytest.mark.parametrize('payload', [b'', b'\0', b'\xff', b'\1\1'])
def test_what_is_no_request_is_refused(payload):
    with pytest.raises(PayloadError):
        Request.unpack(payload)


def test_waits_double_until_an_answer_comes():
    backoff = Backoff()
    times = [t / 10 for t in range(1000) if backoff.ask(t / 10, 1.0)]
    assert times == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 95.0]
    assert (backoff.asked, backoff.held) == (8, 992)
    backoff.answered()
    assert backoff.ask(100.0, 1.0) and not backoff.ask(100.9, 1.0)


@given(st.lists(st.floats(0, 5), max_size=200), st.floats(0.1, 10))
def test_a_storm_becomes_a_few(steps, wait):
    backoff, now, asked = Backoff(), 0.0, []
    for step in steps:
        now += step
        if backoff.ask(now, wait):
            asked.append(now)
    for i, (before, after) in enumerate(pairwise(asked)):
        assert after - before >= wait * 2 ** min(i, MOST_WAITS) * 0.999
