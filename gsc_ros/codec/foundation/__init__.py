"""
Pretrained models at the ground: diffusers pipelines as renderers.

``adapter`` draws by any flow-matching pipeline, ``families`` is the table of what it has to know
of each, ``pull`` holds what is drawn to what was sent, ``own_pipeline`` is the shipped flow as
such a pipeline, ``loading`` checks and loads one. Nothing outside this folder imports diffusers;
it is imported only when such a renderer is chosen (extra ``foundation``).
"""
