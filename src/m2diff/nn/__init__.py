"""The pieces that networks are built of: embeddings, blocks, attention, and the two halves of a U-Net."""

from m2diff.nn.attention import SelfAttention
from m2diff.nn.blocks import Downsample, Folding, PixelHead, PixelStem, ResBlock, Upsample
from m2diff.nn.embed import DoseEmbedding, TimeEmbedding
from m2diff.nn.fit import FitHead
from m2diff.nn.unet import Decoder, Encoder, Middle, UNetShape

__all__ = [
    "Decoder",
    "DoseEmbedding",
    "Downsample",
    "Encoder",
    "FitHead",
    "Folding",
    "Middle",
    "PixelHead",
    "PixelStem",
    "ResBlock",
    "SelfAttention",
    "TimeEmbedding",
    "UNetShape",
    "Upsample",
]
