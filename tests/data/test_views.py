"""Views: the axis order changes in one place, and stitching undoes cutting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2diff.data.views import centre_heavy, cut, from_stack, pad_to_multiple, starts, stitch, to_stack

slabs = st.integers(1, 12).flatmap(lambda s: st.tuples(st.just(s), st.integers(1, s)))


def test_a_stack_has_the_slices_of_the_volume_first():
    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    stack = to_stack(volume)
    assert stack.shape == (4, 3, 2)
    assert stack[3, 2, 1] == volume[1, 2, 3]


def test_from_stack_undoes_to_stack():
    volume = np.random.default_rng(0).standard_normal((5, 6, 7)).astype(np.float32)
    assert np.array_equal(from_stack(to_stack(volume)), volume)


@settings(deadline=None, max_examples=60)
@given(depth=st.integers(1, 40), view=slabs)
def test_the_slabs_cover_every_slice(depth: int, view: tuple[int, int]):
    slices, stride = view
    begins = starts(depth, slices, stride)
    assert set(range(depth)) <= {start + k for start in begins for k in range(slices)}
    assert begins == sorted(set(begins))
    assert depth < slices or begins[-1] + slices == depth


@settings(deadline=None, max_examples=60)
@given(depth=st.integers(1, 40), view=slabs, seed=st.integers(0, 2**31))
def test_stitching_cut_slabs_gives_the_volume_back(depth: int, view: tuple[int, int], seed: int):
    slices, stride = view
    stack = torch.randn(depth, 3, 2, generator=torch.Generator().manual_seed(seed))
    begins = starts(depth, slices, stride)
    torch.testing.assert_close(stitch(cut(stack, slices, begins), begins, depth), stack, rtol=1e-5, atol=1e-6)


def test_a_volume_shorter_than_a_slab_repeats_its_edge():
    stack = torch.arange(3.0)[:, None, None].expand(3, 2, 2)
    slab = cut(stack, 5, starts(3, 5, 2))
    assert slab.shape == (1, 5, 2, 2)
    assert slab[0, :, 0, 0].tolist() == [0, 1, 2, 2, 2]


def test_where_slabs_disagree_the_one_in_whose_middle_a_slice_lies_counts_more():
    first, second = torch.zeros(1, 4, 1, 1), torch.ones(1, 4, 1, 1)
    stack = stitch(torch.cat([first, second]), [0, 2], 6)[:, 0, 0]
    assert stack[0] == 0 and stack[-1] == 1
    assert 0 < stack[2] < 0.5 < stack[3] < 1


def test_the_weights_of_a_slab_are_positive_and_symmetric():
    for slices in range(1, 20):
        weights = centre_heavy(slices)
        assert (weights > 0).all()
        torch.testing.assert_close(weights, weights.flip(0))
        assert weights.argmax() in (slices // 2, (slices - 1) // 2)


def test_slabs_that_leave_a_gap_are_refused():
    with pytest.raises(ValueError, match="uncovered"):
        stitch(torch.zeros(2, 2, 1, 1), [0, 4], 6)


def test_a_stride_longer_than_a_slab_is_refused():
    with pytest.raises(ValueError, match="stride"):
        starts(20, 4, 5)


def test_padding_to_a_multiple_keeps_the_image_and_tells_its_size():
    slab = torch.randn(2, 8, 13, 17)
    grown, size = pad_to_multiple(slab, 8)
    assert grown.shape == (2, 8, 16, 24)
    assert torch.equal(grown[..., : size[0], : size[1]], slab)
    assert torch.equal(grown[..., -1, :17], slab[..., -1, :])
