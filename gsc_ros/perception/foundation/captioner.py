"""
Captions by a model of transformers: an image in a sentence.

``image-text-to-text`` models that follow instructions (SmolVLM, Qwen2.5-VL, ... : those with a
chat template), Florence-2 (Xiao et al., CVPR 2024; by its task tokens) and ``image-to-text``
models that take no words (BLIP, GIT).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.perception.foundation.loading import Loader, Options, Source, import_transformers

PROMPT = 'Describe what a driver of this robot has to know, in one short sentence.'
_TASKS = {'florence2': '<CAPTION>', 'florence-2': '<CAPTION>'}
_LONGEST_SIDE = 768  # pixels of an image that a model is given
MAX_WORDS = 40  # tokens of the model


class TransformersCaptioner:
    """Describes images; ``prompt``: what a model that follows instructions is asked."""

    def __init__(self, model: Any, processor: Any, prompt: str = PROMPT) -> None:
        self.model, self.processor, self.prompt = model, processor, prompt

    @classmethod
    def load(
        cls, source: str, options: Options | None = None, prompt: str = PROMPT
    ) -> 'TransformersCaptioner':
        """
        Load a folder or a model of the hub.

        Raises ``ValueError`` naming the remedy, also for a model that describes no images.
        """
        loader = Loader(Source.parse(source), options or Options())
        transformers, config = import_transformers(), loader.config()
        kind = transformers.AutoModelForImageTextToText
        if type(config) not in kind._model_mapping:
            raise ValueError(
                f'{source}: is a {config.model_type}, which describes no images; name one as '
                'HuggingFaceTB/SmolVLM-256M-Instruct, florence-community/Florence-2-base or '
                'Salesforce/blip-image-captioning-base'
            )
        model = loader.model(kind)
        try:
            processor = transformers.AutoProcessor.from_pretrained(
                loader.folder, local_files_only=True
            )
        except ImportError as error:
            reason = ' '.join(str(error).split())
            raise ValueError(f'{source}: its processor needs another library ({reason})') from (
                error
            )
        except Exception as error:  # of the hub, of the files, of what they need
            raise loader.missing(error) from error
        return cls(model, processor, prompt)

    @torch.inference_mode()
    def caption(self, rgb: NDArray[np.uint8]) -> str:
        """Describe an image uint8 (H, W, 3) in one line; the likeliest words, so repeatable."""
        inputs = self._inputs(_image(rgb)).to(self.model.device)
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.is_floating_point():
                inputs[name] = value.to(self.model.dtype)
        tokens = self.model.generate(
            **inputs, max_new_tokens=MAX_WORDS, do_sample=False, num_beams=1
        )
        config = self.model.config
        if 'input_ids' in inputs and not getattr(config, 'is_encoder_decoder', False):
            start = inputs['input_ids'].shape[1]
            # Models that repeat the question: what is new comes behind it.
            if tokens.shape[1] > start and bool((tokens[:, :start] == inputs['input_ids']).all()):
                tokens = tokens[:, start:]
        text = self.processor.batch_decode(tokens, skip_special_tokens=True)[0]
        return ' '.join(str(text).split())

    def _inputs(self, image: Any) -> Any:
        kind = self.model.config.model_type
        if getattr(self.processor, 'chat_template', None):
            content = [{'type': 'image', 'image': image}, {'type': 'text', 'text': self.prompt}]
            return self.processor.apply_chat_template(
                [{'role': 'user', 'content': content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors='pt',
            )
        if kind in _TASKS:
            return self.processor(text=_TASKS[kind], images=image, return_tensors='pt')
        return self.processor(images=image, return_tensors='pt')


def _image(rgb: NDArray[np.uint8]) -> Any:
    """Return an image of PIL, no larger than a model can use."""
    from PIL import Image

    image = Image.fromarray(rgb)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return image
