"""Pipelines of every family with tiny, random networks."""

import pytest
import torch

tokenizers = pytest.importorskip('tokenizers', reason='needs the extra foundation')
transformers = pytest.importorskip('transformers', reason='needs the extra foundation')
diffusers = pytest.importorskip('diffusers', reason='needs the extra foundation')

WORDS = (
    'a photo robot camera street person rider car truck traffic light sign left ahead right at m'
)


def tokenizer():
    """A tokenizer that knows a few words."""
    words = ['<pad>', '<s>', '</s>', '<unk>', *WORDS.split()]
    numbers = {word: number for number, word in enumerate(words)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token='<unk>'))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token='<pad>', bos_token='<s>', eos_token='</s>',
        unk_token='<unk>', model_max_length=77,
    )  # fmt: skip
    fast.chat_template = "a person: {{ messages[0]['content'] }}"
    return fast


def clip(kind):
    config = transformers.CLIPTextConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=16, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return kind(config)


def t5():
    config = transformers.T5Config(
        vocab_size=64, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )
    return transformers.T5EncoderModel(config)


def qwen(kind, layers):
    config = transformers.Qwen3Config(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=layers,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
    )  # fmt: skip
    return kind(config)


def vae(kind=diffusers.AutoencoderKL, blocks=4, **options):
    return kind(
        down_block_types=('DownEncoderBlock2D',) * blocks,
        up_block_types=('UpDecoderBlock2D',) * blocks,
        block_out_channels=(4,) * blocks, layers_per_block=1, latent_channels=4,
        norm_num_groups=2, **options,
    )  # fmt: skip


def kl(**options):
    return vae(shift_factor=0.06, scaling_factor=1.5, **options)


def scheduler(**options):
    return diffusers.FlowMatchEulerDiscreteScheduler(**options)


FLUX = {
    'in_channels': 16, 'num_layers': 1, 'num_single_layers': 1, 'attention_head_dim': 16,
    'num_attention_heads': 2, 'joint_attention_dim': 32, 'pooled_projection_dim': 16,
    'axes_dims_rope': (4, 4, 8), 'guidance_embeds': True,
}  # fmt: skip
SD3 = {
    'sample_size': 32, 'patch_size': 2, 'in_channels': 4, 'out_channels': 4, 'num_layers': 2,
    'attention_head_dim': 8, 'num_attention_heads': 2, 'caption_projection_dim': 16,
    'joint_attention_dim': 32, 'pooled_projection_dim': 32,
}  # fmt: skip


def flux():
    return diffusers.FluxPipeline(
        scheduler=scheduler(), vae=kl(), tokenizer=tokenizer(), tokenizer_2=tokenizer(),
        text_encoder=clip(transformers.CLIPTextModel), text_encoder_2=t5(),
        transformer=diffusers.FluxTransformer2DModel(**FLUX),
    )  # fmt: skip


def flux2():
    coder = vae(diffusers.AutoencoderKLFlux2)
    coder.bn.running_mean.fill_(0.1)
    coder.bn.running_var.fill_(0.5)
    return diffusers.Flux2KleinPipeline(
        scheduler=scheduler(use_dynamic_shifting=True), vae=coder, tokenizer=tokenizer(),
        text_encoder=qwen(transformers.Qwen3ForCausalLM, 28), is_distilled=True,
        transformer=diffusers.Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=48, axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
    )  # fmt: skip


def sd3():
    projected = transformers.CLIPTextModelWithProjection
    return diffusers.StableDiffusion3Pipeline(
        scheduler=scheduler(shift=3.0), vae=kl(), tokenizer=tokenizer(), tokenizer_2=tokenizer(),
        tokenizer_3=tokenizer(), text_encoder=clip(projected), text_encoder_2=clip(projected),
        text_encoder_3=t5(),
        transformer=diffusers.SD3Transformer2DModel(**SD3),
    )  # fmt: skip


def sana():
    text = transformers.Gemma2Config(
        vocab_size=64, hidden_size=8, intermediate_size=16, num_hidden_layers=1, head_dim=4,
        num_attention_heads=2, num_key_value_heads=2, attn_implementation='eager',
    )  # fmt: skip
    blocks = {'block_types': ('ResBlock',) * 6, 'block_out_channels': (4,) * 6}
    coder = diffusers.AutoencoderDC(
        latent_channels=4, attention_head_dim=2, scaling_factor=0.4,
        **{f'{side}_{k}': v for side in ('encoder', 'decoder') for k, v in blocks.items()},
        encoder_layers_per_block=(1,) * 6, decoder_layers_per_block=(1,) * 6,
        encoder_qkv_multiscales=((),) * 6, decoder_qkv_multiscales=((),) * 6,
        downsample_block_type='Conv', upsample_block_type='interpolate',
    )  # fmt: skip
    return diffusers.SanaPipeline(
        tokenizer=tokenizer(), text_encoder=transformers.Gemma2Model(text), vae=coder,
        scheduler=diffusers.DPMSolverMultistepScheduler(
            prediction_type='flow_prediction', use_flow_sigmas=True, flow_shift=3.0
        ),
        transformer=diffusers.SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2,
            attention_head_dim=4, num_cross_attention_heads=2, cross_attention_head_dim=4,
            cross_attention_dim=8, caption_channels=8, sample_size=32,
        ),
    )  # fmt: skip


def z_image():
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=16, axes_dims=(8, 4, 4), axes_lens=(256, 32, 32),
    )  # fmt: skip
    with torch.no_grad():  # they are not initialised
        transformer.x_pad_token.fill_(0.1)
        transformer.cap_pad_token.fill_(0.1)
    return diffusers.ZImagePipeline(
        scheduler=scheduler(shift=3.0), vae=kl(), tokenizer=tokenizer(),
        text_encoder=qwen(transformers.Qwen3Model, 2), transformer=transformer,
    )  # fmt: skip


def controlnets():
    """Return ControlNets of the families that have them, by name; what they add is not zero."""
    made = {
        'FLUX.1': diffusers.FluxControlNetModel(**FLUX),
        'SD3.5': diffusers.SD3ControlNetModel(**SD3),
    }
    with torch.no_grad():
        for net in made.values():
            for parameter in net.parameters():
                parameter.add_(0.1)
    return made


def tiny_vae(blocks=4):
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4,) * blocks, decoder_block_out_channels=(4,) * blocks,
        num_encoder_blocks=(1,) * blocks, num_decoder_blocks=(1,) * blocks, latent_channels=4,
    )  # fmt: skip


MAKERS = {'FLUX.1': flux, 'FLUX.2-klein': flux2, 'SD3.5': sd3, 'SANA': sana, 'Z-Image': z_image}


def save(name, folder):
    """Write the pipeline of a family with random weights of a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = MAKERS[name]()
    pipe.save_pretrained(folder)
    return folder
