"""
Semantic pseudo-words: what the tasks at the ground need of an image, in a few symbols.

TASCM of MTGC (arXiv 2512.06344): task queries attend over the encoder's features, and each gives
words. A word is a few channels of a few levels (Mentzer et al., "Finite Scalar Quantization", ICLR
2024), so that it is read without a network. At the ground the predictor's features read the words
by cross-attention; without words nothing is added.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gsc_ros.labels import NUM_CLASSES
from gsc_ros.models.layers import ChannelNorm, ResBlock, conv, zero_init
from gsc_ros.models.tokenizer import from_symbols, quantise, to_symbols

LEVELS = (7, 5, 5, 5, 5)  # of the channels of a word: 4,375 words, 12.1 bits
TASKS = ('segmentation', 'depth', 'detection', 'hazards')
MAX_WORDS = 2 * len(TASKS)  # word k is of task k % 4: the first of every task comes first
COUNTS = (0, 2, 4, MAX_WORDS)  # of words that a frame may have
SEEN = NUM_CLASSES + 1  # class shares and log depth
_HEADS = 4


def _placed(x: Tensor) -> Tensor:
    """Add two channels, the place of each cell in -1..1 of height and width."""
    n, _, h, w = x.shape
    rows = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1).expand(n, 1, h, w)
    columns = torch.linspace(-1, 1, w, device=x.device).view(1, 1, 1, w).expand(n, 1, h, w)
    return torch.cat([x, rows.to(x), columns.to(x)], 1)


def _gridded(words: Tensor) -> Tensor:
    """Words (N, K, C) as a grid of one column (N, C, K, 1), as the quantiser takes them."""
    return words.transpose(1, 2)[..., None]


def _listed(grid: Tensor) -> Tensor:
    """Inverse of :func:`_gridded`."""
    return grid[..., 0].transpose(1, 2)


class WordWriter(nn.Module):
    """
    The robot's half: task queries attend over the features of an image.

    ``features``: channels of the tokenizer's analysis on the 1/32 grid.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.enter = conv(features + SEEN + 2, width, kernel=1)
        self.body = nn.Sequential(ResBlock(width), ChannelNorm())
        self.queries = nn.Parameter(torch.randn(MAX_WORDS, width))
        self.attention = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.say = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, len(LEVELS)),
        )
        # Over images each channel keeps a deviation of one, and so uses its levels. Without it the
        # queries outweigh what they find, and all images get the same words.
        self.spread = nn.BatchNorm1d(MAX_WORDS * len(LEVELS), affine=False)

    def forward(self, features: Tensor, seen: Tensor) -> Tensor:
        """
        Write all words of images.

        ``features``: (N, F, h, w) on the 1/32 grid; ``seen``: :func:`seen_of` the robot's classes
        and depth, (N, 21, h, w). Returns channels in [-1, 1], quantised: (N, 8, 5).
        """
        y = self.body(self.enter(_placed(torch.cat([features, seen], 1))))
        places = y.flatten(2).transpose(1, 2)
        queries = self.queries.expand(len(y), -1, -1)
        found, _ = self.attention(queries, places, places, need_weights=False)
        plain = self.say(found + queries).float()
        plain = self.spread(plain.flatten(1)).view_as(plain)
        return _listed(quantise(_gridded(plain), LEVELS))


class WordReader(nn.Module):
    """
    The ground's half: features of the predictor read the words by cross-attention.

    The result is added to the features through a layer that begins at zero. Beside the words there
    is nothing to read, for places that no word is about. Which word a place reads depends on the
    place alone, and what it reads is linear in the word: as words are zero on average over images
    (``WordWriter.spread``), so is what is added. Otherwise the reader learns a correction of the
    predictor that is the same for any words.
    """

    def __init__(self, guidance: int, width: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(MAX_WORDS, width))
        self.nothing = nn.Parameter(torch.zeros(1, width))
        self.tell = nn.Parameter(torch.randn(MAX_WORDS, len(LEVELS), width) / len(LEVELS) ** 0.5)
        self.ask = nn.Sequential(conv(guidance + 2, width, kernel=1), nn.SiLU(), ChannelNorm())
        self.query = conv(width, width, kernel=1)
        self.gate = conv(width, width, kernel=1)
        self.add = nn.Conv2d(width, guidance, 1, bias=False)
        zero_init(self.add)

    def forward(self, features: Tensor, words: Tensor) -> Tensor:
        """
        Add what words say to features.

        ``features``: (N, G, h, w); ``words``: channels in [-1, 1] of the first K words, (N, K, 5),
        K of 0 to 8. Returns features; with K = 0 those that came.
        """
        n, count, _ = words.shape
        if not count:
            return features
        h, w = features.shape[2:]
        asked = self.ask(_placed(features))

        def heads(x: Tensor) -> Tensor:
            return x.reshape(n, -1, _HEADS, x.shape[2] // _HEADS).transpose(1, 2)

        keys = torch.cat([self.keys[:count], self.nothing]).expand(n, -1, -1)
        told = torch.einsum('nkc,kcw->nkw', words.to(features), self.tell[:count])
        values = functional.pad(told, (0, 0, 0, 1))
        query = self.query(asked).flatten(2).transpose(1, 2)
        read = functional.scaled_dot_product_attention(heads(query), heads(keys), heads(values))
        found = read.transpose(1, 2).reshape(n, h * w, -1).transpose(1, 2).view(n, -1, h, w)
        return features + self.add(found * functional.silu(self.gate(asked)))


class PseudoWords(nn.Module):
    """
    Both halves, and the tables by which the words are coded.

    ``features``, ``guidance``: channels of the tokenizer's analysis on the 1/32 grid and of the
    predictor's features. ``tables``: int16 (8, 5, 7), logarithms of the probability of each level
    of each channel of each word, in sixteenths of a bit.
    """

    tables: Tensor

    def __init__(self, features: int = 160, guidance: int = 128, width: int = 96) -> None:
        super().__init__()
        self.config = {'features': features, 'guidance': guidance, 'width': width}
        self.writer = WordWriter(features, width)
        self.reader = WordReader(guidance, width)
        self.register_buffer(
            'tables', torch.zeros(MAX_WORDS, len(LEVELS), max(LEVELS), dtype=torch.int16)
        )

    def write(self, features: Tensor, seen: Tensor) -> Tensor:
        """Write the symbols of all words: int64 (N, 8, 5); arguments as of the writer."""
        return _listed(to_symbols(_gridded(self.writer(features, seen)), LEVELS))

    def read(self, features: Tensor, symbols: Tensor) -> Tensor:
        """Add what the symbols (N, K, 5) of words say to features (N, G, h, w)."""
        return self.reader(features, _listed(from_symbols(_gridded(symbols), LEVELS)))


def seen_of(classes: Tensor, log_depth: Tensor) -> Tensor:
    """
    Bring what the robot sees to the 1/32 grid.

    ``classes``: int64 (N, h, w) on the 1/8 grid, ids beyond the known ones for none;
    ``log_depth``: (N, h, w) in [0, 1]. Returns class shares and depth, float32 (N, 21, h/4, w/4).
    """
    shares = functional.one_hot(classes.clamp(max=NUM_CLASSES), NUM_CLASSES + 1)[..., :-1]
    seen = torch.cat([shares.permute(0, 3, 1, 2).float(), log_depth[:, None].float()], 1)
    return functional.avg_pool2d(seen, 4)
