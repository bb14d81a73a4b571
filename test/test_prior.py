"""The masked-token prior: exact integers, trained as it runs, and worth its weights."""

import numpy as np
import pytest
import torch
from frames import encode, moved, random_symbols, uneven_prior
from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.codec.cdf import cdf, cdfs, slots
from gsc_ros.codec.planes import BY_NAME, PLANES
from gsc_ros.codec.prior import Prior, all_shapes, context, encoded, inputs, save
from gsc_ros.training.prior import Pairs, PlaneNet, example, losses, without_layout

SIZE = (256, 192)


def zeros():
    return {name: np.zeros(shape, np.int16) for name, shape in all_shapes().items()}


@pytest.mark.parametrize('delta', [False, True])
def test_the_training_counts_the_very_bits_of_the_stream(delta):
    torch.manual_seed(1)
    nets = {plane.name: PlaneNet(plane) for plane in PLANES}
    weights = zeros()
    for net in nets.values():
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.12)
        weights |= net.integers()
    symbols = random_symbols(0, SIZE)
    reference = moved(symbols, 3, 1.0) if delta else None
    _, coded = encode(symbols, Prior.of_weights(weights), 10**5, reference)

    class Whole:
        """A source of numbers that never selects."""

        def random(self, shape=None):
            return 1.0

    for plane in PLANES:
        made = example(plane, symbols, reference, Whole())
        expected = float(nets[plane.name].bits(*made).detach())
        assert coded.bits[plane.name] == pytest.approx(expected, rel=0.01, abs=3)


def test_training_begins_with_the_weights_it_is_given():
    rng = np.random.default_rng(2)
    given = {n: rng.integers(-99, 99, s).astype(np.int16) for n, s in all_shapes().items()}
    for plane in PLANES:
        net = PlaneNet(plane)
        net.begin(given)
        for name, values in net.integers().items():
            np.testing.assert_array_equal(values, given[name])


def test_sums_are_exact_in_any_order():
    """Single-precision sums in another order, and in integers, give the same logits."""
    symbols, prior = random_symbols(5, SIZE), uneven_prior()
    plane = BY_NAME['tokens1']
    mine = prior['tokens1']
    cells = np.arange(symbols.planes['tokens1'][0].size)
    logits = mine.logits(mine.begin(symbols, None), cells)
    order = np.random.default_rng(0).permutation(plane.hidden)
    w = {k: v.copy() for k, v in mine.weights.items()}
    w['context.weight'], w['own.weight'] = w['context.weight'][:, order], w['own.weight'][:, order]
    w['own.bias'], w['out.weight'] = w['own.bias'][order], w['out.weight'][order]
    middle = w['middle.weight'].reshape(9, plane.hidden, plane.hidden)
    w['middle.weight'] = middle[:, order][:, :, order].reshape(-1, plane.hidden)
    w['middle.bias'] = w['middle.bias'][order]
    other = type(mine)(plane, w)
    again = other.logits(other.begin(symbols, None), cells)
    np.testing.assert_array_equal(logits, again)


def test_inputs_are_whole_numbers_within_one():
    symbols = moved(random_symbols(2, SIZE), 1, 0.5)
    for plane in PLANES:
        static, own = inputs(plane)
        x = context(plane, symbols, random_symbols(3, SIZE))
        y = encoded(plane, symbols.planes[plane.name])
        assert (len(x), len(y)) == (static, own)
        for values in (x, y):
            np.testing.assert_array_equal(values, np.round(values))
            assert np.abs(values).max() <= 64


def test_tables_give_every_symbol_a_chance():
    for logits in ([0, -4000, 4000], [7, 7, 7], [-176, 0], [-175, 0]):
        row = cdf(logits)
        assert row[0] == 0
        assert min(np.diff(row)) >= 1
        assert row[-1] <= 1 << 16
    assert np.diff(cdf([7, 7, 7])).tolist() == [2048, 2048, 2048]
    assert np.diff(cdf([0, 16])).tolist() == [1024, 2048]  # one bit
    assert np.diff(cdf([-175, 0])).tolist() == [1, 2048]


@given(st.integers(0, 5), st.integers(1, 24), st.integers(0, 400), st.integers(0, 2**32 - 1))
def test_tables_are_the_same_one_by_one_and_all_at_once(rows, levels, spread, seed):
    logits = np.random.default_rng(seed).integers(-spread, spread + 1, (rows, levels))
    assert cdfs(logits) == [cdf(row) for row in logits.tolist()]


@given(st.integers(1, 5), st.integers(1, 24), st.integers(0, 400), st.integers(0, 2**32 - 1))
def test_a_symbol_takes_its_part_of_the_table(rows, levels, spread, seed):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-spread, spread + 1, (rows, levels))
    symbols = rng.integers(0, levels, rows)
    for row, symbol, slot in zip(logits.tolist(), symbols, slots(logits, symbols), strict=True):
        table = cdf(row)
        assert slot == [table[symbol], table[symbol + 1], table[-1]]


def test_the_writer_uses_the_tables_of_the_reader():
    plane, mine = BY_NAME['tokens0'], uneven_prior()['tokens0']
    rng = np.random.default_rng(4)
    logits = rng.integers(-300, 300, (9, sum(plane.levels)))
    symbols = np.stack([rng.integers(0, n, 9) for n in plane.levels], 1)
    found = mine.slots(logits, symbols)
    firsts = mine.first_tables(logits)
    for cell, row in enumerate(symbols.tolist()):
        for channel, symbol in enumerate(row):
            before = tuple(row[:channel])
            table = mine.table(logits[cell].tolist(), before) if channel else firsts[cell]
            assert found[channel][cell] == [table[symbol], table[symbol + 1], table[-1]]


def test_weights_are_checked(tmp_path):
    Prior.load(save(tmp_path / 'prior.safetensors', zeros()))
    with pytest.raises(ValueError, match='fine'):
        Prior.of_weights({k: v for k, v in zeros().items() if k != 'fine.own.bias'})
    with pytest.raises(ValueError, match=r'coarse\.own\.bias'):
        Prior.of_weights(zeros() | {'coarse.own.bias': np.zeros(3, np.int16)})
    wild = zeros()
    wild['coarse_depth.middle.weight'][:] = 30_000
    with pytest.raises(ValueError, match='not exact'):
        Prior.of_weights(wild)
    with pytest.raises(FileNotFoundError, match='gsc train'):
        Prior.load(tmp_path / 'none')
    (tmp_path / 'bad').write_bytes(b'x' * 40)
    with pytest.raises(ValueError, match='not a prior'):
        Prior.load(tmp_path / 'bad')


def test_frames_with_and_without_a_class_layout_are_trained_on():
    """Where no class applies, depth and tokens are coded with no layout to predict them by."""
    frame = random_symbols(0, SIZE)
    bare = without_layout(frame)
    for plane in PLANES:
        kept = frame.planes[plane.name]
        expected = np.full_like(kept, -1) if plane.classes else kept
        np.testing.assert_array_equal(bare.planes[plane.name], expected)
    pairs = Pairs([frame, frame], [None, 0], np.random.default_rng(0))
    drawn = [pairs.draw() for _ in range(200)]
    without = [pair for pair in drawn if (pair[0].planes['fine'] < 0).all()]
    assert 10 < len(without) < 60
    assert all(r is None or (r.planes['coarse'] < 0).all() for _, r in without)
    nets = torch.nn.ModuleDict({plane.name: PlaneNet(plane) for plane in PLANES})
    rng = np.random.default_rng(0)
    both, one = (losses(nets, [(s, None) for s in some], rng) for some in ([frame, bare], [bare]))
    assert set(both) == {plane.name for plane in PLANES} | {'loss'}
    assert set(one) == {plane.name for plane in PLANES if not plane.classes} | {'loss'}
    one['loss'].backward()
    moved_by = {n for n, net in nets.items() if any(p.grad is not None for p in net.parameters())}
    assert moved_by == set(one) - {'loss'}
