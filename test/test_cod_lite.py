"""Preset cod_lite: packing of tokens, frames, and a tiny random checkpoint as published."""

from dataclasses import asdict, replace
from functools import lru_cache

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.cli import main
from gsc_ros.codec import BitstreamError, Section, SemanticCodec, SequenceDecoder, SequenceEncoder
from gsc_ros.codec.cod_lite import checkpoint, packing
from gsc_ros.codec.cod_lite.checkpoint import Model
from gsc_ros.codec.cod_lite.decoder import CodLiteDecoder, concealed
from gsc_ros.codec.cod_lite.encoder import CodLiteEncoder
from gsc_ros.codec.cod_lite.networks import CodLite, Config
from gsc_ros.codec.notes import Timing
from gsc_ros.commands.images import write_rgb
from gsc_ros.labels import UNLABELLED
from gsc_ros.models import pretrained
from gsc_ros.models.pretrained import Options

TINY = Config(
    ds=32, codebook_bits=4, up2x=True, light=True, hidden_size=64, hidden_size_x=8, num_blocks=3,
    num_cond_blocks=2, bottleneck_dim=8, encoder_width=32, codebook_dim=8,
)  # fmt: skip


def blocks(width, height, seed=0):
    """Make an image of coloured blocks."""
    small = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    return small.astype(np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]


RGB = blocks(128, 96)


@lru_cache
def model(**changes):
    torch.manual_seed(0)
    net = CodLite(replace(TINY, **changes))
    # Untrained cells are all alike: spread them, so that the tokens of an image differ.
    torch.nn.init.normal_(net.y_embedder.encoder.conv_out.weight, std=0.5)
    net.eval().requires_grad_(False).fix_time()
    return Model(net, 7)


@lru_cache
def halves(**changes):
    return CodLiteEncoder(model(**changes)), CodLiteDecoder(model(**changes))


def save(folder, name='CoD_Lite_tiny', wrap=lambda state: state, **changes):
    """Save a checkpoint as it is published: weights under `net.`, and a configuration."""
    torch.manual_seed(1)
    config = replace(TINY, **changes)
    state = {f'net.{k}': v for k, v in CodLite(config).state_dict().items()}
    torch.save(wrap({**state, 'disc.heads.0.weight': torch.zeros(3)}), folder / f'{name}.pt')
    args = {k: v for k, v in asdict(config).items() if k not in ('encoder_width', 'codebook_dim')}
    args |= {'net_ckpt_path': None, 'pretrain_prefix': 'net.', 'fix_encoder': True}
    text = yaml.safe_dump({'model': {'net': {'class_path': 'a.b', 'init_args': args}}})
    (folder / f'{name}.yaml').write_text(text)
    return folder / f'{name}.pt'


# Packing


@settings(deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1),
    st.integers(0, 4000),
)  # fmt: skip
def test_any_prefix_gives_the_tokens_that_are_whole(rows, columns, bits, seed, cut):
    tokens = np.random.default_rng(seed).integers(0, 2**bits, (rows, columns), np.int64)
    data = packing.pack(tokens, bits)
    assert len(data) == packing.packed_bytes(tokens.size, bits)
    np.testing.assert_array_equal(packing.unpack(data, tokens.shape, bits), tokens)
    part = packing.unpack(data[:cut], tokens.shape, bits)
    here = part != packing.MISSING
    np.testing.assert_array_equal(part[here], tokens[here])
    assert here.sum() == min(8 * min(cut, len(data)) // bits, tokens.size)


@settings(deadline=None)
@given(
    st.integers(16, 4096), st.integers(16, 4096), st.integers(0, 20_000),
    st.sampled_from([4, 8, 16, 32]),
)  # fmt: skip
def test_the_working_size_fits(width, height, tokens, stride):
    unit = max(stride, 16)
    size = packing.working_size(width, height, tokens, stride, unit)
    least = (unit // stride) ** 2
    assert (size is None) == (tokens < least)
    if size is not None:
        assert all(side % unit == 0 and side // stride <= packing.MAX_SIDE for side in size)
        assert (size[0] // stride) * (size[1] // stride) <= tokens
        assert size[0] < width + unit and size[1] < height + unit


def test_the_working_size_is_the_largest_of_nearly_the_same_shape():
    assert packing.working_size(640, 480, 300, 32, 32) == (640, 480)
    assert packing.working_size(640, 480, 10_000, 32, 32) == (640, 480)
    assert packing.working_size(640, 480, 299, 32, 32) == (608, 480)
    assert packing.working_size(640, 480, 582, 16, 16) == (432, 336)
    assert packing.working_size(640, 480, 40, 4, 16) == (32, 16)


@pytest.mark.parametrize('shape', [(1, 1), (5, 7), (16, 16), (12, 21)])
def test_every_beginning_of_the_order_lies_spread(shape):
    order = packing.order(*shape)
    assert sorted(order) == list(range(shape[0] * shape[1]))
    first = np.zeros(shape, bool)
    first.ravel()[order[: -(-order.size // 2)]] = True
    # Every cell of the other half has a neighbour in the first one.
    near = np.pad(first, 1)
    near = near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:] | first
    assert near.all()


def test_missing_tokens_are_concealed_by_the_nearest():
    tokens = np.full((4, 6), -1, np.int64)
    tokens[0, 0], tokens[3, 5] = 3, 9
    found = concealed(tokens)
    assert found[0, 1] == found[1, 0] == 3 and found[3, 4] == found[2, 5] == 9
    assert set(found.ravel().tolist()) == {3, 9}


# Frames


@pytest.mark.parametrize('size', [(128, 96), (100, 64), (333, 217), (16, 16)])
@pytest.mark.parametrize('budget', [40, 57, 300])
def test_a_frame_never_exceeds_its_budget_and_decodes(size, budget):
    encoder, decoder = halves()
    rgb = blocks(*size)
    sections = {Section.POSE: b'12345'}
    frame = encoder.pack(encoder.analyse(rgb), budget + 7, 300, sections=sections)
    assert len(frame.data) <= budget + 7
    assert frame.divisible and not frame.header.frame_type
    read = decoder.read(frame.data)
    assert read.sections == sections
    (decoded,) = decoder.render([read])
    assert decoded.rgb.shape == rgb.shape
    assert (decoded.received == 255).all()
    assert decoded.depth is None and decoded.segmentation is None
    assert decoded.header.sequence == 300 % 256


@pytest.mark.parametrize(
    'changes', [{'ds': 16}, {'ds': 8, 'codebook_bits': 8}, {'ds': 4}, {'up2x': False},
                {'light': False}, {'pred': 'v', 'noise_level': 1.0}],
    ids=str,
)  # fmt: skip
def test_every_published_kind_of_network_codes(changes):
    encoder, decoder = halves(**changes)
    frame = encoder.pack(encoder.analyse(RGB), 200, 3)
    assert len(frame.data) <= 200
    again = encoder.pack(encoder.analyse(RGB), 200, 3)
    assert again.data == frame.data
    one, two = (decoder.render([decoder.read(frame.data)])[0].rgb for _ in range(2))
    np.testing.assert_array_equal(one, two)  # the noise is seeded by the frame
    assert one.std() > 0


def test_tokens_are_exact_and_larger_budgets_give_more_of_them():
    encoder, decoder = halves()
    rgb = blocks(640, 480)
    analysis = encoder.analyse(rgb)
    counts = []
    for budget in (60, 120, 300):
        read = decoder.read(encoder.pack(analysis, budget).data)
        tokens = read.symbols.tokens
        np.testing.assert_array_equal(tokens, encoder._tokens(rgb, read.symbols.size))
        counts.append(tokens.size)
    assert counts == sorted(set(counts))
    assert counts[-1] == 20 * 15  # of the image's own size; there are no more


@settings(max_examples=10, deadline=None)
@given(st.integers(9, 60))
def test_any_prefix_decodes_and_what_is_missing_is_not_trusted(cut):
    encoder, decoder = halves()
    data = whole(encoder)
    part = data[:cut]
    truncated = len(part) < len(data)
    read = decoder.read(part, truncated=truncated)
    (decoded,) = decoder.render([read])
    share = max(0, 2 * (len(part) - 9 - 2)) / 80
    assert (decoded.trust > 0).mean() == pytest.approx(min(share, 1.0), abs=0.03)
    assert set(np.unique(decoded.received)) <= {0, 255}
    assert (decoded.reference is None) == truncated
    if not share:
        assert (decoded.rgb == 128).all()


@lru_cache
def whole(encoder):
    rgb = blocks(320, 240, 5)
    return encoder.pack(encoder.analyse(rgb), 300).data


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused(data):
    encoder, decoder = halves()
    good = whole(encoder)
    at = data.draw(st.integers(0, len(good) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = bytes(b ^ flip if i == at else b for i, b in enumerate(good))
    with pytest.raises(BitstreamError):
        decoder.read(bad)
    # One that says that it is cut is not checked as a whole: it is read, or refused by name.
    try:
        decoder.read(bad, truncated=True)
    except BitstreamError as error:
        assert len(str(error)) > 20


def test_frames_of_other_weights_and_presets_are_refused():
    encoder, decoder = halves()
    other = CodLiteDecoder(replace(decoder.model, fingerprint=8))
    data = whole(encoder)
    with pytest.raises(BitstreamError, match='coded with weights 0007, these are 0008'):
        other.read(data)
    gsc = SemanticCodec.load(weights='random', device='cpu')
    with pytest.raises(BitstreamError, match="frame of preset 'gsc', this decoder reads 'cod_l"):
        decoder.read(gsc.encode(RGB, 100).data)
    with pytest.raises(BitstreamError, match="frame of preset 'cod_lite', this decoder reads"):
        gsc.read(data)
    with pytest.raises(ValueError, match=r'budget_bytes 39 is outside 40'):
        encoder.pack(encoder.analyse(RGB), 39)
    with pytest.raises(ValueError, match='has no room for tokens'):
        halves(ds=4, codebook_bits=16)[0].pack(encoder.analyse(RGB), 40)


def test_an_image_that_shows_nothing_takes_few_bytes_and_no_trust():
    encoder, decoder = halves()
    frame = encoder.pack(encoder.analyse(np.zeros_like(RGB)), 300)
    assert len(frame.data) < 30
    (decoded,) = decoder.render([decoder.read(frame.data)])
    assert (decoded.rgb == 0).all() and (decoded.trust == 0).all()
    assert 'no image: black' in decoded.caption == frame.caption


def test_what_is_lost_of_an_image_is_marked():
    encoder, decoder = halves()
    rgb = blocks(256, 256)
    rgb[128:] = 0
    for budget, shares in ((300, (0.45, 0.55)), (40, (0.45, 1.0))):
        frame = encoder.pack(encoder.analyse(rgb), budget)
        assert len(frame.data) <= budget
        (decoded,) = decoder.render([decoder.read(frame.data)])
        assert shares[0] <= (decoded.trust == 0).mean() <= shares[1]
        assert (decoded.rgb[140:] == 0).all()
        assert decoded.reference is None


def test_an_image_that_is_not_of_now_is_not_trusted():
    encoder, decoder = halves()
    frame = encoder.pack(encoder.analyse(RGB, timing=Timing(off_s=60.0)), 300)
    (decoded,) = decoder.render([decoder.read(frame.data)])
    assert (decoded.trust == 0).all()
    assert '60 s old' in decoded.caption
    # Nor one whose notes were cut off.
    (decoded,) = decoder.render([decoder.read(frame.data[:14], truncated=True)])
    assert (decoded.trust == 0).all()


def test_a_batch_gives_what_single_frames_give():
    encoder, decoder = halves()
    decoder.bfloat16 = False
    images = [RGB, RGB[:, ::-1].copy(), blocks(64, 64)]
    frames = [decoder.read(encoder.pack(encoder.analyse(i), 200, n).data)
              for n, i in enumerate(images)]  # fmt: skip
    for frame, decoded in zip(frames, decoder.render(frames), strict=True):
        (single,) = decoder.render([frame])
        difference = np.abs(single.rgb.astype(int) - decoded.rgb.astype(int))
        assert difference.max() <= 1


def test_frames_in_a_row_are_key_frames():
    encoder, decoder = halves()
    row, ground = SequenceEncoder(encoder, 0), SequenceDecoder(decoder)
    for number in range(3):
        frame = row.encode(RGB, 100, sequence=number)
        assert not frame.header.frame_type
        assert ground.decode(frame.data).rgb.shape == RGB.shape


# Checkpoints


def test_a_checkpoint_loads_under_its_published_names(tmp_path):
    path = save(tmp_path)
    loaded = checkpoint.load(path, torch.device('cpu'))
    assert loaded.config == TINY
    net = CodLite(TINY)
    weights = torch.load(path, weights_only=True)
    net.load_state_dict({k[4:]: v for k, v in weights.items() if k.startswith('net.')})
    net.eval().fix_time()
    x = torch.rand(1, 3, 64, 96)
    tokens = net.encode(x)
    torch.testing.assert_close(loaded.net.encode(x), tokens)
    torch.testing.assert_close(loaded.net.draw(tokens), net.draw(tokens), atol=1e-5, rtol=1e-4)
    assert checkpoint.load(tmp_path, torch.device('cpu')).fingerprint == loaded.fingerprint
    nested = save(tmp_path, 'nested', wrap=lambda state: {'state_dict': state})
    again = checkpoint.load(nested, torch.device('cpu'))
    torch.testing.assert_close(again.net.encode(x), tokens)
    assert again.fingerprint != loaded.fingerprint


def test_both_halves_and_the_commands_use_a_checkpoint(tmp_path):
    path = str(save(tmp_path))
    png, coded, shown = (str(tmp_path / name) for name in ('a.png', 'a.gsc', 'b.png'))
    write_rgb(tmp_path / 'a.png', RGB)
    own = ['--weights', path, '--device', 'cpu']
    assert main(['encode', png, '-o', coded, '--preset', 'cod_lite', '--budget', '60', *own]) == 0
    depth = tmp_path / 'd.npy'
    assert main(['decode', coded, '-o', shown, '--depth', str(depth), *own]) == 0
    assert np.load(depth).shape == RGB.shape[:2]
    assert main(['info', coded, *own]) == 0


def test_the_ground_sees_depth_and_classes(tmp_path):
    path = save(tmp_path)
    codec = SemanticCodec.load('cod_lite', path, device='cpu')
    data = codec.encode(RGB, 60, depth=np.full((4, 4), 12.0, np.float32)).data
    decoded = codec.decode(data)
    assert decoded.depth.shape == decoded.segmentation.shape == RGB.shape[:2]
    assert decoded.caption.startswith('seen on the ground: ')
    known = np.isfinite(decoded.depth)
    assert not known.any() or 3 < np.median(decoded.depth[known]) < 48
    cut = codec.decode(data[:-4], truncated=True)
    hidden = cut.trust == 0
    assert hidden.any() and not hidden.all()
    assert (cut.segmentation[hidden] == UNLABELLED).all() and np.isnan(cut.depth[hidden]).all()


def test_what_is_no_checkpoint_is_refused_with_the_remedy(tmp_path, monkeypatch):
    cpu = torch.device('cpu')
    for missing, text in (
        (None, 'no weights in the package: name its checkpoint'),
        ('/no/such.pt', 'no such file or folder'),
        ('owner/name', 'no such file or folder'),
        (tmp_path, 'has none: name the file'),
    ):
        with pytest.raises(FileNotFoundError, match=text):
            checkpoint.load(missing, cpu)
    path = save(tmp_path)
    config = path.with_suffix('.yaml').read_text()
    path.with_suffix('.yaml').unlink()
    with pytest.raises(FileNotFoundError, match=r'comes with the .yaml of its name'):
        checkpoint.load(path, cpu)
    for text in ('a: b', '[', config.replace('ds: 32', 'ds: 128')):
        path.with_suffix('.yaml').write_text(text)
        with pytest.raises(ValueError, match='no configuration of a one-step CoD-Lite'):
            checkpoint.load(path, cpu)
    path.with_suffix('.yaml').write_text(config.replace('num_blocks: 3', 'num_blocks: 4'))
    with pytest.raises(ValueError, match=r'lacks \d+ weights, as dec_net.*download both'):
        checkpoint.load(path, cpu)
    path.with_suffix('.yaml').write_text(config.replace('codebook_bits: 4', 'codebook_bits: 8'))
    with pytest.raises(ValueError, match='another shape of 1 weights'):
        checkpoint.load(path, cpu)
    path.with_suffix('.yaml').write_text(config)
    torch.save({'ema_denoiser.blocks.0.conv1.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='not the pre-trained model'):
        checkpoint.load(path, cpu)
    torch.save({'net.x': print}, path)  # not a tensor: code that torch would run
    with pytest.raises(ValueError, match='not a file of weights'):
        checkpoint.load(path, cpu)
    path.write_bytes(b'nothing')
    with pytest.raises(ValueError, match='not a file of weights'):
        checkpoint.load(path, cpu)


def test_a_checkpoint_of_the_hub_comes_with_its_configuration(tmp_path, monkeypatch):
    hub = pytest.importorskip('huggingface_hub')
    path, asked = save(tmp_path, 'CoD_Lite_bpp_0_0039'), []

    def download(repository, revision, allow_patterns, local_files_only):
        asked.append((repository, revision, allow_patterns, local_files_only))
        if local_files_only or repository == 'gone/name':
            raise OSError('no internet')
        return str(tmp_path)

    monkeypatch.setattr(hub, 'snapshot_download', download)
    name = 'owner/name/CoD_Lite_bpp_0_0039.pt@1a2b'
    assert checkpoint.find(name) == path
    files = ['CoD_Lite_bpp_0_0039.pt', 'CoD_Lite_bpp_0_0039.yaml', 'README.md']
    assert asked == [('owner/name', '1a2b', files, here) for here in (True, False)]
    with pytest.raises(ValueError, match=r'cannot be fetched \(no internet\).*copy the folder'):
        checkpoint.find('gone/name/a.pt')
    with pytest.raises(ValueError, match='owner/name at revision 1a2b is not on this machine'):
        checkpoint.find(name, Options(offline=True))
    with pytest.raises(ValueError, match=r'has no b\.pt\. Check the name'):
        checkpoint.find('owner/name/b.pt')


def test_the_licence_is_told_and_memory_counted_before_a_checkpoint_is_loaded(
    tmp_path, monkeypatch
):
    path, told = save(tmp_path, 'tiny'), []
    (tmp_path / 'README.md').write_text('---\nlicense: mit\n---\n')
    checkpoint.load(path, torch.device('cpu'), Options(report=told.append))
    assert told == [f'{path}: licence of its weights: mit']
    monkeypatch.setattr(pretrained, 'free_bytes', lambda device: 1000)
    with pytest.raises(ValueError, match=r'tiny\.pt needs .* GB, cpu has 0\.0 GB free'):
        checkpoint.load(path, torch.device('cpu'))


def test_the_published_sizes():
    """28 M parameters in the encoder and 52 M in the decoder, as published of 0.0312 bpp."""
    with torch.device('meta'):
        net = CodLite(replace(checkpoint.PUBLISHED, ds=16, codebook_bits=8))
    net.fix_time()
    encoder, both = (
        sum(p.numel() for p in part.parameters()) / 1e6 for part in (net.y_embedder.encoder, net)
    )
    assert round(encoder) == 28
    assert round(both - encoder) == 52
