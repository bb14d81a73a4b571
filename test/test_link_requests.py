"""Requests up the link: a few bytes, and never a storm of them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.link.datagrams.payloads import PayloadError, Request
from gsc_ros.link.traffic.requests import MOST_WAITS, Backoff
from gsc_ros.region import WHOLE, Region

shares = st.floats(0, 1)
regions = (
    st.tuples(shares, shares, shares, shares)
    .filter(lambda r: r[0] < r[2] and r[1] < r[3])
    .map(lambda r: Region(*r))
)


@given(st.booleans(), st.none() | regions, st.booleans())
def test_requests_are_read_as_they_were_made(key_frame, region, setup):
    if not (key_frame or region or setup):
        return
    made = Request(key_frame, region, setup)
    read = Request.unpack(made.pack())
    assert (read.key_frame, read.setup) == (key_frame, setup)
    assert len(made.pack()) == (5 if region else 1)
    if region is None:
        assert read.region is None
        return
    # It grows to the next step, and no further.
    for inner, outer, way in zip(region, read.region, (-1, -1, 1, 1), strict=True):
        assert -1e-6 <= way * (outer - inner) <= 1 / 255 + 1e-6
    assert Request.unpack(read.pack()) == read


@pytest.mark.parametrize(
    'payload',
    [
        b'',
        b'\0',
        b'\xff',
        b'\1\1',
        b'\2',
        b'\2\0\0\1',
        b'\2\5\0\5\1',
        b'\2\0\\9\1\1',
        b'\x08',
        b'\4\4',
    ],
)
def test_what_is_no_request_is_refused(payload):
    with pytest.raises(PayloadError):
        Request.unpack(payload)


@pytest.mark.parametrize(
    'region', [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (0, 0, 1, 1.1), (-0.1, 0, 1, 1)]
)
def test_an_impossible_region_cannot_be_asked_for(region):
    with pytest.raises(ValueError, match='region'):
        Request(region=Region(*region))


def test_two_requests_are_one():
    key, part, whole = Request(True), Request(region=Region(0, 0, 0.5, 0.5)), Request(region=WHOLE)
    assert key.also(part) == part.also(key) == Request(True, Region(0, 0, 0.5, 0.5))
    assert part.also(whole) == whole
    assert part.also(Request(setup=True)) == Request(False, Region(0, 0, 0.5, 0.5), True)
    with pytest.raises(ValueError, match='something'):
        Request()


@given(
    st.none() | regions,
    st.none() | st.integers(1, 65535),
    st.none() | st.floats(0.01, 600),
)
def test_budgets_and_rates_are_read_as_they_were_asked_for(region, budget, rate):
    made = Request(True, region, False, budget, rate)
    read = Request.unpack(made.pack())
    sizes = 4 * (region is not None), 2 * (budget is not None), 2 * (rate is not None)
    assert len(made.pack()) == 1 + sum(sizes)
    assert read.budget == budget and (read.region is None) == (region is None)
    assert read.rate is None if rate is None else abs(read.rate - rate) <= 0.00501
    assert Request.unpack(read.pack()) == read


@pytest.mark.parametrize(
    'values',
    [{'budget': 0}, {'budget': 65536}, {'rate': 0.0}, {'rate': 601.0}, {'rate': math.nan}],
)
def test_what_no_frame_can_be_is_refused(values):
    with pytest.raises(ValueError, match=r'budget|rate'):
        Request(**values)
    with pytest.raises(PayloadError):
        Request.unpack(b'\x18\0\0\0\0')


def test_the_newest_budget_and_rate_hold():
    first, second = Request(budget=100, rate=1.0), Request(budget=200)
    assert first.also(second) == Request(budget=200, rate=1.0)


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


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=200), st.floats(0.1, 5))
def test_even_requests_that_are_answered_keep_to_their_share(steps, pause):
    backoff, now, asked = Backoff(), 0.0, []
    for step, answered in steps:
        now += step
        if answered:
            backoff.answered()
        if backoff.ask(now, 0.2, pause):
            asked.append(now)
    assert all(after - before >= 0.999 * pause for before, after in pairwise(asked))
