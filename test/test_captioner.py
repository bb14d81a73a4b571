"""Captioners of transformers: tiny models with random weights, loaded from folders."""

import pytest
import torch
from tiny_vae import scene

from gsc_ros.perception.foundation.captioner import TransformersCaptioner

pytest.importorskip('transformers', reason='needs the extra foundation')

WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[DEC]', '[ENC]', 'a', 'car', 'road', 'on', '##s']
CHAT = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "{{ '<image> ' }}{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
RGB = scene(0)


def save_blip(folder):
    """An image-to-text model: BLIP."""
    import transformers as t

    folder.mkdir()
    (folder / 'vocab.txt').write_text('\n'.join(WORDS))
    small = {'hidden_size': 16, 'intermediate_size': 16, 'num_hidden_layers': 1,
             'num_attention_heads': 2}  # fmt: skip
    text = {**small, 'vocab_size': len(WORDS), 'bos_token_id': 4, 'eos_token_id': 3,
            'pad_token_id': 0, 'sep_token_id': 3, 'encoder_hidden_size': 16}  # fmt: skip
    config = t.BlipConfig(
        text_config=text, vision_config={**small, 'image_size': 32, 'patch_size': 16}
    )
    images = t.BlipImageProcessor(size={'height': 32, 'width': 32})
    words = t.BertTokenizer(str(folder / 'vocab.txt'))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        t.BlipForConditionalGeneration(config).save_pretrained(folder)
    t.BlipProcessor(images, words).save_pretrained(folder)
    return folder


def save_llava(folder):
    """An image-text-to-text model that follows instructions: LLaVA."""
    import transformers as t

    folder.mkdir()
    (folder / 'vocab.txt').write_text('\n'.join(WORDS))
    words = t.BertTokenizer(
        str(folder / 'vocab.txt'), additional_special_tokens=['<image>'], eos_token='[SEP]'
    )
    small = {'hidden_size': 16, 'intermediate_size': 16, 'num_hidden_layers': 2,
             'num_attention_heads': 2}  # fmt: skip
    ids = {'bos_token_id': 2, 'eos_token_id': 3, 'pad_token_id': 0}
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**small, image_size=32, patch_size=16),
        text_config=t.LlamaConfig(**small, **ids, vocab_size=len(words)),
        image_token_index=words.convert_tokens_to_ids('<image>'),
        **ids,
    )
    images = t.CLIPImageProcessor(
        size={'shortest_edge': 32}, crop_size={'height': 32, 'width': 32}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        t.LlavaForConditionalGeneration(config).save_pretrained(folder)
    t.LlavaProcessor(
        images, words, patch_size=16, vision_feature_select_strategy='default',
        chat_template=CHAT, image_token='<image>', num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.parametrize('save', [save_blip, save_llava])
def test_a_model_of_each_kind_describes_an_image(save, tmp_path):
    captioner = TransformersCaptioner.load(str(save(tmp_path / 'model')))
    text = captioner.caption(RGB)
    assert isinstance(text, str)
    assert '\n' not in text
    assert captioner.caption(RGB) == text
    assert '<image>' not in text
    assert captioner.prompt not in text


def test_what_describes_no_images_is_refused(tmp_path):
    import transformers as t

    t.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='is a bert, which describes no images'):
        TransformersCaptioner.load(str(tmp_path))
    with pytest.raises(ValueError, match='no such folder'):
        TransformersCaptioner.load(str(tmp_path / 'none'))
