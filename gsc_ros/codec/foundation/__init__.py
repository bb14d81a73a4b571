"""
Pretrained models: diffusers pipelines as renderers, and preset ``foundation``.

``adapter`` draws by any flow-matching pipeline, ``families`` is the table of what it has to know
of each, ``pull`` holds what is drawn to what was sent, ``own_pipeline`` is the shipped flow as
such a pipeline, ``loading`` checks and loads one. ``vae_*`` code latents of an autoencoder,
``entropy_*`` train and hold their integer tables, ``caption_*`` code free text. Nothing outside
this folder imports diffusers; it is imported only when such a renderer or autoencoder is chosen
(extra ``foundation``).
"""
