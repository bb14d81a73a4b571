"""Pseudo-words: written by the robot, read exactly, added to what the ground draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from frames import decode, encode, random_symbols, uneven_prior
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.codec import BitstreamError, FrameDecoder, SemanticCodec, backend, pseudo_words
from gsc_ros.codec.pseudo_words import NONE, WEIGHTS, count_for
from gsc_ros.codec.rangecoder import RangeDecoder, RangeEncoder
from gsc_ros.codec.streams import completed
from gsc_ros.models.pseudo_words import COUNTS, LEVELS, MAX_WORDS, PseudoWords, seen_of
from gsc_ros.models.weights import FOLDER, save

SIZE = (64, 64)
RGB = np.kron(
    np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8), np.ones((16, 16, 1), np.uint8)
)


def words_of(seed: int, count: int = MAX_WORDS):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, n, count) for n in LEVELS], 1).astype(np.int8)


def tables_of(seed: int):
    many = np.stack([words_of(seed + i) for i in range(20)]).astype(np.int64)
    return pseudo_words.count(many // 2)  # the lower levels are common


@pytest.fixture(scope='module')
def codec():
    """An untrained codec of the preset, whose words change what is drawn."""
    made = SemanticCodec.load('mtgc', weights='random', device='cpu')
    made.bfloat16 = False
    net = made.networks.ground.reconstructor.words
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.nn.init.normal_(net.reader.add.weight, std=3.0)
    return made


@settings(deadline=None)
@given(
    st.integers(0, 99), st.sampled_from(COUNTS), st.sampled_from(COUNTS), st.booleans(),
)  # fmt: skip
def test_words_are_read_as_they_were_written(seed, count, before, alike):
    words = words_of(seed, count)
    reference = words_of(seed if alike else seed + 1, before)
    tables, coder = tables_of(seed), RangeEncoder()
    written = [NONE, *pseudo_words.write(coder, words, reference, tables)]
    np.testing.assert_array_equal(written[-1], words)
    decoder = RangeDecoder(coder.finish())
    read = [NONE, *pseudo_words.read(decoder, reference, tables)]
    assert len(read) == len(written) == count + 1
    for some, same in zip(read, written, strict=True):
        np.testing.assert_array_equal(some, same)


def test_common_words_and_those_of_the_reference_are_cheap():
    def bits(words, reference=NONE, tables=None):
        coder = RangeEncoder()
        before = coder.bits
        list(pseudo_words.write(coder, words, reference, tables or pseudo_words.even()))
        return coder.bits - before

    words = words_of(0)
    assert bits(words) == pytest.approx(2 + MAX_WORDS * 12.1, abs=0.5)
    assert bits(words, words) == pytest.approx(2 + MAX_WORDS, abs=0.1)
    coder, tables = RangeEncoder(), pseudo_words.count(np.stack([words] * 50).astype(np.int64))
    before = coder.bits
    list(pseudo_words.write(coder, words, NONE, tables))
    assert coder.bits - before < 12


@pytest.mark.parametrize('left_out', [frozenset(), frozenset({'fine', 'coarse_depth'})])
def test_a_stream_with_words_comes_back_and_any_cut_gives_a_part(left_out):
    source = replace(random_symbols(3, SIZE), pseudo_words=words_of(3), left_out=left_out)
    prior = uneven_prior()
    data, coded = encode(source, prior, 2000, pseudo_words=4)
    read = decode(data, SIZE, prior, worded=True)
    np.testing.assert_array_equal(coded.pseudo_words, words_of(3)[:4])
    np.testing.assert_array_equal(read.pseudo_words, words_of(3)[:4])
    assert read.left_out == left_out
    for name, grid in read.planes.items():
        wanted = np.full_like(grid, -1) if name in left_out else source.planes[name]
        np.testing.assert_array_equal(grid, wanted)
    lengths = set()
    for end in range(len(data)):
        part = decode(data[:end], SIZE, prior, worded=True).pseudo_words
        np.testing.assert_array_equal(part, words_of(3)[: len(part)])
        lengths.add(len(part))
    assert lengths == set(range(5))


def test_a_delta_frame_without_words_keeps_those_of_its_reference():
    prior, reference = uneven_prior(), replace(random_symbols(4, SIZE), pseudo_words=words_of(4))
    source = replace(random_symbols(5, SIZE), pseudo_words=words_of(5))
    for count, wanted in ((0, words_of(4)), (2, words_of(5)[:2])):
        data, coded = encode(source, prior, 3000, reference, pseudo_words=count)
        read = decode(data, SIZE, prior, reference, worded=True)
        np.testing.assert_array_equal(read.pseudo_words, wanted)
        np.testing.assert_array_equal(completed(coded, reference).pseudo_words, wanted)


def test_without_words_the_ground_draws_as_before(codec):
    plain = SemanticCodec.of(codec.networks, 'gsc')
    net = codec.networks.ground.reconstructor.words
    features = torch.randn(2, 128, 4, 8)
    assert net.read(features, torch.zeros(2, 0, 5, dtype=torch.int64)) is features
    symbols = plain.read(plain.encode(RGB, 300).data).symbols
    assert not len(symbols.pseudo_words)
    reconstructor = codec.networks.ground.reconstructor
    without = replace(reconstructor, words=None)
    with torch.inference_mode():
        np.testing.assert_array_equal(
            reconstructor.draw(reconstructor.predict(symbols)),
            without.draw(without.predict(symbols)),
        )


def test_words_change_what_is_drawn_and_each_frame_of_a_batch_has_its_own(codec):
    read = codec.read(codec.encode(RGB, 300).data)
    assert len(read.symbols.pseudo_words) == count_for(300) > 0
    others = [
        replace(read, symbols=replace(read.symbols, pseudo_words=words_of(seed, count)))
        for seed, count in ((1, 0), (2, 2), (3, 4), (4, 2))
    ]
    together = codec.render([read, *others])
    for frame, drawn in zip([read, *others], together, strict=True):
        alone = codec.render([frame])[0]
        assert np.abs(alone.rgb.astype(int) - drawn.rgb).max() <= 1
    assert np.abs(together[1].rgb.astype(int) - together[0].rgb).mean() > 1
    assert np.abs(together[2].rgb.astype(int) - together[4].rgb).mean() > 1


def test_every_part_can_be_left_out(codec):
    encoder = codec.encoder
    try:
        for name in encoder.preset.optional:
            encoder.leave_out([name])
            symbols = codec.read(codec.encode(RGB, 600).data).symbols
            if name in symbols.planes:
                assert symbols.left_out == {name} and not symbols.received(name).any()
            elif name == 'pseudo_words':
                assert not len(symbols.pseudo_words)
            elif name == 'residual':
                assert symbols.residual is None
            assert name != 'caption' or symbols.objects is None
        with pytest.raises(ValueError, match=r"'mtgc' cannot leave out 'hazards', only caption"):
            encoder.leave_out(['hazards'])
    finally:
        encoder.leave_out([])
    assert len(codec.read(codec.encode(RGB, 600).data).symbols.pseudo_words)


def test_a_preset_that_always_sends_its_planes_refuses_to_leave_them_out():
    for preset, name in (('gsc', 'fine'), ('gsc', 'pseudo_words'), ('cod_lite', 'caption')):
        with pytest.raises(ValueError, match=f'{preset!r} cannot leave out {name!r}'):
            backend.load_encoder(preset, 'random', leave_out=[name])
    assert backend.load_encoder('gsc', 'random', leave_out=['residual']).encode(RGB, 100)


def test_weights_without_words_make_frames_without_and_others_are_refused(tmp_path):
    """The folder decides: both ends need the same words."""
    for path in FOLDER.glob('*.safetensors'):
        (tmp_path / path.name).symlink_to(path)
    plain = SemanticCodec.load('mtgc', tmp_path, device='cpu')
    frame = plain.encode(RGB, 300)
    assert not len(plain.read(frame.data).symbols.pseudo_words)
    assert plain.decode(frame.data).rgb.shape == RGB.shape
    net = PseudoWords()
    net.tables.copy_(torch.from_numpy(tables_of(0)))
    save(tmp_path / WEIGHTS, net.state_dict(), net.config)
    worded = SemanticCodec.load('mtgc', tmp_path, device='cpu')
    np.testing.assert_array_equal(worded.networks.ground.prior.pseudo_words, tables_of(0))
    frame = worded.encode(RGB, 300)
    assert len(worded.read(frame.data).symbols.pseudo_words) == count_for(300)
    with pytest.raises(BitstreamError, match='same weights'):
        plain.decode(frame.data)
    with pytest.raises(BitstreamError, match=r"preset 'mtgc', this decoder reads 'gsc'"):
        FrameDecoder.load('gsc', tmp_path, device='cpu').decode(frame.data)


def test_other_images_get_other_words():
    """Also where images differ little: an untrained net once gave the same words to all."""
    torch.manual_seed(0)
    scene, seen = torch.randn(1, 160, 4, 5), torch.rand(1, 21, 4, 5)
    features = scene + 0.1 * torch.randn(32, 160, 4, 5)
    words = PseudoWords().write(features, seen.expand(32, -1, -1, -1))
    for channel, levels in enumerate(LEVELS):
        for position in range(MAX_WORDS):
            found = words[:, position, channel].unique()
            assert 3 <= len(found) <= levels and found.min() >= 0 and found.max() < levels


def test_what_is_added_is_zero_on_average_over_words():
    """Else the reader learns a correction of the predictor, and words say nothing."""
    torch.manual_seed(0)
    reader = PseudoWords().reader
    torch.nn.init.normal_(reader.add.weight)
    features, words = torch.randn(1, 128, 4, 5), 2 * torch.rand(64, MAX_WORDS, len(LEVELS)) - 1
    for count in COUNTS[1:]:
        both = torch.cat([words, -words])[:, :count]
        added = reader(features.expand(len(both), -1, -1, -1), both) - features
        assert added.mean(0).abs().max() < 1e-3 * added.std()
        assert added.std(0).mean() > 0.1 * added.std()  # over words, not over places alone


def test_what_the_robot_sees_comes_to_the_grid_of_the_words():
    classes = torch.full((1, 8, 8), 255)
    classes[:, :4] = 2
    seen = seen_of(classes, torch.full((1, 8, 8), 0.25))
    assert seen.shape == (1, 21, 2, 2)
    assert seen[0, 2].tolist() == [[1, 1], [0, 0]]
    assert (seen[0, 20] == 0.25).all() and seen[0, :20].sum() == 2
