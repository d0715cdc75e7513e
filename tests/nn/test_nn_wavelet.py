"""The Haar transform keeps everything and tells coarse from fine."""

import torch

from m2diff.nn.wavelet import haar


def test_it_is_orthonormal():
    slab = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    coarse, details = haar(slab)
    assert coarse.shape == (2, 3, 4, 6) and details.shape == (2, 9, 4, 6)
    torch.testing.assert_close((coarse**2).sum() + (details**2).sum(), (slab**2).sum())


def test_a_flat_slab_has_no_details_and_an_edge_shows_in_one_direction_only():
    coarse, details = haar(torch.full((1, 1, 4, 4), 3.0))
    assert torch.equal(coarse, torch.full((1, 1, 2, 2), 6.0)) and not details.any()
    rows = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None].expand(4, 4)[None, None]
    vertical, horizontal, diagonal = haar(rows)[1][0]
    assert vertical.abs().min() == 1 and not horizontal.any() and not diagonal.any()
