"""The shipped judge on tiny, untrained models of its kinds, loaded as the real ones are."""

import numpy as np
import pytest
import torch

from gsc_ros.evaluation import judge as judges

transformers = pytest.importorskip('transformers')
RGB = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope='module')
def judge(tmp_path_factory):
    root = tmp_path_factory.mktemp('models')
    torch.manual_seed(0)
    classes = transformers.SegformerConfig(
        num_labels=19, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 16],
        num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=16,
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(classes).save_pretrained(root / 'classes')
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, patch_size=14,
        image_size=28, out_indices=[1, 2], reshape_hidden_states=False,
    )  # fmt: skip
    depth = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14,
        reassemble_factors=[4, 2], neck_hidden_sizes=[8, 8], fusion_hidden_size=8,
        head_hidden_size=8, depth_estimation_type='metric', max_depth=80,
    )  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(depth).save_pretrained(root / 'depth')
    boxes = transformers.RTDetrConfig(
        num_labels=80, d_model=16, encoder_hidden_dim=16, num_queries=20, decoder_layers=1,
        encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_attention_heads=2,
        encoder_attention_heads=2, num_denoising=0, decoder_in_channels=[16, 16, 16],
        encoder_in_channels=[8, 8, 8], hidden_expansion=1.0, feat_strides=[8, 16, 32],
        backbone_config=transformers.RTDetrResNetConfig(
            hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type='basic', embedding_size=8,
            out_features=['stage2', 'stage3', 'stage4'],
        ),
    )  # fmt: skip
    model = transformers.RTDetrForObjectDetection(boxes)
    for head in model.model.decoder.class_embed or []:
        torch.nn.init.normal_(head.bias, 1.0)
    model.save_pretrained(root / 'boxes')
    with pytest.MonkeyPatch.context() as patch:
        for name in ('classes', 'depth', 'boxes'):
            patch.setenv(f'GSC_JUDGE_{name.upper()}', str(root / name))
        yield judges.load('transformers')


def test_classes(judge):
    found = judge.segment(RGB)
    assert (found.shape, found.dtype) == ((60, 80), np.uint8)
    assert found.max() < 19


def test_depth(judge):
    found = judge.depth(RGB)
    assert (found.shape, found.dtype) == ((60, 80), np.float32)
    assert (found >= 0).all() and (found <= 80).all()


def test_boxes(judge):
    found = judge.detect(RGB)
    assert found
    for x0, y0, x1, y1, score, kind in found:
        assert 0 <= x0 <= x1 <= 80 and 0 <= y0 <= y1 <= 60
        assert judge.SCORE <= score <= 1
        assert 0 <= kind < 80


def test_distances(judge):
    assert judge.distances(RGB, RGB) == {'segformer': pytest.approx(0, abs=1e-6)}
    assert judge.distances(RGB, 255 - RGB)['segformer'] > 1e-3


def test_a_model_that_is_not_there(judge, monkeypatch, tmp_path):
    fresh = judges.load('transformers')
    monkeypatch.setenv('GSC_JUDGE_DEPTH', str(tmp_path / 'none'))
    with pytest.raises(ValueError, match='GSC_JUDGE_DEPTH'):
        fresh.depth(RGB)


def named(monkeypatch, variable, model, folder):
    """Load the judge with another model for one of its tasks."""
    model.save_pretrained(folder)
    monkeypatch.setenv(variable, str(folder))
    return judges.load('transformers')


def test_boxes_of_91_classes_are_refused(monkeypatch, tmp_path):
    model = transformers.YolosForObjectDetection(
        transformers.YolosConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            image_size=[64, 64], num_detection_tokens=8, num_labels=91,
        )
    )  # fmt: skip
    fresh = named(monkeypatch, 'GSC_JUDGE_BOXES', model, tmp_path)
    with pytest.raises(ValueError, match='name one of the 80 of COCO'):
        fresh.detect(RGB)


def test_classes_of_another_dataset_are_refused(monkeypatch, tmp_path):
    model = transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            num_labels=150, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=16,
        )
    )  # fmt: skip
    fresh = named(monkeypatch, 'GSC_JUDGE_CLASSES', model, tmp_path)
    with pytest.raises(ValueError, match='has 150 classes'):
        fresh.segment(RGB)


def test_classes_by_another_network_are_refused(monkeypatch, tmp_path):
    model = transformers.BeitForSemanticSegmentation(
        transformers.BeitConfig(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
            image_size=64, patch_size=16, out_indices=[1, 2, 3, 4], num_labels=19,
        )
    )  # fmt: skip
    fresh = named(monkeypatch, 'GSC_JUDGE_CLASSES', model, tmp_path)
    with pytest.raises(ValueError, match='is a beit; name a SegFormer'):
        fresh.segment(RGB)


def test_a_revision_goes_to_the_hub_and_a_folder_is_taken_whole(monkeypatch, tmp_path):
    asked = []

    def from_pretrained(name, revision):
        asked.append((name, revision))
        raise OSError('no internet')

    fresh = judges.load('transformers')
    auto = fresh.transformers.AutoModelForDepthEstimation
    monkeypatch.setattr(auto, 'from_pretrained', from_pretrained)
    folder = tmp_path / 'with@sign'
    folder.mkdir()
    for name in ('owner/name@1a2b', 'owner/name', str(folder)):
        monkeypatch.setenv('GSC_JUDGE_DEPTH', name)
        with pytest.raises(ValueError, match='no internet'):
            fresh.depth(RGB)
    assert asked == [('owner/name', '1a2b'), ('owner/name', 'main'), (str(folder), 'main')]
