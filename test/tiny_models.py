"""Tiny untrained models of transformers, of the classes that perception loads."""

import pytest
import torch

from gsc_ros.labels import LABELS

transformers = pytest.importorskip('transformers')

CITYSCAPES = dict(enumerate(LABELS[:19]))
COCO = {0: 'person', 1: 'bicycle', 2: 'car', 3: 'motorbike', 4: 'stop sign', 5: 'dining table'}


def segformer():
    return transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            depths=[1] * 4, hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1] * 4,
            decoder_hidden_size=16, id2label=CITYSCAPES,
        )
    )  # fmt: skip


def swin():
    return transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, image_size=64,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )  # fmt: skip


def mask2former():
    return transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(
            backbone_config=swin(), feature_size=32, mask_feature_size=32, hidden_dim=32,
            encoder_feedforward_dim=32, encoder_layers=1, decoder_layers=2, dim_feedforward=32,
            num_attention_heads=2, num_queries=8, id2label=CITYSCAPES,
        )
    )  # fmt: skip


def upernet():
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=swin(), hidden_size=16, pool_scales=[1, 2], auxiliary_in_channels=32,
            auxiliary_channels=8, id2label=CITYSCAPES,
        )
    )  # fmt: skip


def depth_anything(kind='metric'):
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, patch_size=14,
        image_size=28, out_indices=[1, 2], reshape_hidden_states=False,
    )  # fmt: skip
    return transformers.DepthAnythingForDepthEstimation(
        transformers.DepthAnythingConfig(
            backbone_config=backbone, reassemble_hidden_size=16, patch_size=14,
            reassemble_factors=[4, 2], neck_hidden_sizes=[8, 8], fusion_hidden_size=8,
            head_hidden_size=8, depth_estimation_type=kind, max_depth=80,
        )
    )  # fmt: skip


def rt_detr():
    model = transformers.RTDetrForObjectDetection(
        transformers.RTDetrConfig(
            id2label=COCO, d_model=16, encoder_hidden_dim=16, num_queries=20, decoder_layers=1,
            encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_attention_heads=2,
            encoder_attention_heads=2, num_denoising=0, decoder_in_channels=[16] * 3,
            encoder_in_channels=[8] * 3, hidden_expansion=1.0, feat_strides=[8, 16, 32],
            backbone_config=transformers.RTDetrResNetConfig(
                hidden_sizes=[8] * 4, depths=[1] * 4, layer_type='basic', embedding_size=8,
                out_features=['stage2', 'stage3', 'stage4'],
            ),
        )
    )  # fmt: skip
    for head in model.model.decoder.class_embed or []:
        torch.nn.init.normal_(head.bias, 1.0)
    return model
