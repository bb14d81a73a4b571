"""
Preset ``cod_lite``: the codec CoD-Lite (Jia et al., arXiv 2604.12525) in this package's frame.

An encoder, a codebook and a one-step convolutional diffusion decoder; a frame is the indices of
the codebook, each of a fixed length. The networks are our own implementation under the published
names of their layers, so that published checkpoints load: those of the Hugging Face hub,
zhaoyangjia/CoD_Lite, MIT. The package has no weights of it.
"""
