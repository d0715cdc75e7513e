"""The pieces of the networks, each with its promise."""

from __future__ import annotations

import pytest
import torch

from m2diff.nn import (
    Decoder,
    DoseEmbedding,
    Encoder,
    Folding,
    Middle,
    PixelHead,
    PixelStem,
    ResBlock,
    SelfAttention,
    TimeEmbedding,
    UNetShape,
)
from m2diff.nn.blocks import group_norm
from m2diff.nn.embed import sinusoids

SHAPE = UNetShape(widths=(8, 12, 16), blocks=2, embedding=10, attention=(2,), heads=2, groups=4)


def test_the_skips_are_what_the_encoder_leaves():
    skips = Encoder(SHAPE)(torch.randn(2, 8, 16, 16), torch.randn(2, 10))
    assert tuple(skip.shape[1] for skip in skips) == SHAPE.skips
    assert [skip.shape[-1] for skip in skips] == [16] * 3 + [8] * 3 + [4] * 3


@pytest.mark.parametrize("guides", [0, 1, 2])
def test_the_decoder_comes_back_to_the_finest_level_with_any_number_of_guides(guides):
    encoder, middle, decoder = Encoder(SHAPE), Middle(SHAPE, attention=True), Decoder(SHAPE, guides=guides)
    embedding = torch.randn(2, 10)
    skips = encoder(torch.randn(2, 8, 16, 16), embedding)
    out = decoder(middle(skips[-1], embedding), embedding, *[skips] * (1 + guides))
    assert out.shape == (2, 8, 16, 16)


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the layers filled that start as zero, so that all of it has a say."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return module


def test_every_parameter_and_every_skip_of_every_encoder_has_a_say():
    encoder, middle = filled(Encoder(SHAPE)), filled(Middle(SHAPE, attention=True))
    decoder, embedding = filled(Decoder(SHAPE, guides=1)), torch.randn(2, 10)
    own, other = (encoder(torch.randn(2, 8, 16, 16, requires_grad=True), embedding) for _ in range(2))
    for skip in (*own, *other):
        skip.retain_grad()
    decoder(middle(own[-1].detach(), embedding), embedding, own, other).square().sum().backward()
    for part in (middle, decoder):
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())
    assert all(skip.grad is not None and skip.grad.any() for skip in (*own, *other))
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in encoder.parameters())


def test_attention_stands_behind_every_block_of_its_levels_and_nowhere_else():
    def count(module):
        return sum(isinstance(part, SelfAttention) for part in module.modules())

    assert (count(Encoder(SHAPE)), count(Decoder(SHAPE))) == (2, 3)
    assert (count(Middle(SHAPE, attention=True)), count(Middle(SHAPE, attention=False))) == (1, 0)


def test_the_coarsest_map_is_smaller_by_what_sizes_must_divide_by():
    skips = Encoder(SHAPE)(torch.randn(1, 8, 24, 16), torch.randn(1, 10))
    assert skips[-1].shape[-2:] == (24 // SHAPE.multiple, 16 // SHAPE.multiple)


def test_too_few_skips_are_an_error():
    skips = Encoder(SHAPE)(torch.randn(1, 8, 16, 16), torch.randn(1, 10))
    with pytest.raises(ValueError, match="zip"):
        Decoder(SHAPE)(skips[-1], torch.randn(1, 10), skips[1:])


def test_three_dimensions_serve_as_well_as_two():
    shape = UNetShape(widths=(4, 8), blocks=1, embedding=6, attention=(1,), heads=2, groups=2, spatial=3)
    embedding = torch.randn(1, 6)
    skips = Encoder(shape)(torch.randn(1, 4, 4, 8, 8), embedding)
    out = Decoder(shape)(Middle(shape, attention=True)(skips[-1], embedding), embedding, skips)
    assert out.shape == (1, 4, 4, 8, 8)


def test_a_fresh_block_of_equal_width_is_the_identity():
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(ResBlock(8, 8, 10, 4, 0.0)(x, torch.randn(2, 10)), x)
    assert torch.equal(SelfAttention(8, 2, 4)(x), x)


def test_attention_does_not_know_where_a_pixel_is():
    attention = SelfAttention(8, 2, 4)
    torch.nn.init.normal_(attention.project.weight)
    x = torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(attention(x.flip(-1)), attention(x).flip(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("folding", [Folding(4, 2), Folding(4, 2, spatial=3), Folding(3, 1, spatial=3), Folding(3)])
def test_folding_loses_no_pixel(folding):
    channels = 2 * folding.channels
    stem, head = PixelStem(folding, channels, images=2), PixelHead(channels, folding, images=2)
    with torch.no_grad():
        for layer in (stem.conv, head.conv):
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[(..., *[1] * folding.spatial)] = torch.eye(channels)
    x = torch.randn(2, 2 * folding.slices, 8, 8)
    torch.testing.assert_close(head(stem(x)), x)


def test_folding_in_three_dimensions_keeps_neighbours_together():
    x = torch.zeros(1, 4, 4, 4)
    x[0, 2:, :2, 2:] = 1.0
    folded = Folding(4, 2, spatial=3).folded(x)
    assert folded.shape == (1, 8, 2, 2, 2)
    assert folded[0, :, 1, 0, 1].eq(1).all() and folded.sum() == 8


def test_groups_are_the_most_that_divide_the_channels():
    assert group_norm(96, 32).num_groups == 32
    assert group_norm(80, 32).num_groups == 16
    assert group_norm(7, 32).num_groups == 1


def test_norms_answer_bfloat16_in_bfloat16_and_agree_with_pytorchs_own():
    norm, x = group_norm(8, 4), torch.randn(2, 8, 6, 6)
    torch.nn.init.normal_(norm.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = norm(x.bfloat16())
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(
        ours.float(), torch.nn.functional.group_norm(x, 4, norm.weight, norm.bias), rtol=0.05, atol=0.05
    )


def test_step_embeddings_are_cosines_then_sines():
    features = sinusoids(torch.tensor([0, 1]), 6)
    torch.testing.assert_close(features[0], torch.tensor([1.0, 1, 1, 0, 0, 0]))
    angles = torch.tensor([10_000.0 ** (-k / 3) for k in range(3)])
    torch.testing.assert_close(features[1], torch.cat([angles.cos(), angles.sin()]))
    assert TimeEmbedding(6, 10)(torch.tensor([3, 4])).shape == (2, 10)


def test_the_dose_is_read_in_octaves_of_which_seven_are_one():
    embed = DoseEmbedding(1)
    for layer in (embed.first, embed.second):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    found = embed(torch.tensor([1.0, 2.0, 8.0, 128.0]), 4)[:, 0]
    expected = torch.nn.functional.silu(torch.tensor([0.0, 1 / 7, 3 / 7, 1.0]))
    torch.testing.assert_close(found, embed.first.out_features * expected)


def test_an_unknown_dose_is_a_vector_of_its_own_and_leaks_no_nan_into_gradients():
    embed = DoseEmbedding(10)
    vectors = embed(torch.tensor([float("nan"), 4.0, 100.0]), 3)
    torch.testing.assert_close(vectors[0], embed.unknown)
    assert not torch.allclose(vectors[1], vectors[2])
    vectors.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in embed.parameters())
