"""How a scan was made, as numbers: what is unknown says so, and what lies beyond the known is its end."""

from __future__ import annotations

import math

import torch

from m2diff.nn.embed import SCAN_NUMBERS, ScanEmbedding, scan_numbers

NAN = math.nan
CPU = torch.device("cpu")


def numbers(drf: float, iterations: float, subsets: float, fwhm: float) -> torch.Tensor:
    return scan_numbers(torch.tensor([drf]), torch.tensor([[iterations, subsets, fwhm]]), 1, CPU)[0]


def test_known_numbers_lie_around_zero_and_grow_with_what_they_stand_for() -> None:
    one, other = numbers(2.0, 2, 14, 0.0), numbers(100.0, 4, 21, 8.0)
    assert bool((other[:4] > one[:4]).all()) and float(other.abs().max()) <= 1.0
    assert one[4:].tolist() == other[4:].tolist() == [1.0] * 4


def test_what_is_unknown_is_a_zero_beside_a_zero() -> None:
    assert numbers(NAN, 3, 21, 5.0)[[0, 4]].tolist() == [0.0, 0.0]
    alone = numbers(20.0, NAN, 21, NAN)
    assert alone[4:].tolist() == [1.0, 0.0, 1.0, 0.0]  # without iterations the number of updates is unknown too
    assert scan_numbers(None, None, 2, CPU).tolist() == [[0.0] * SCAN_NUMBERS] * 2


def test_beyond_what_training_has_seen_is_its_end() -> None:
    assert torch.equal(numbers(20.0, 8, 34, 5.0), numbers(20.0, 96 / 21, 21, 5.0))
    assert torch.equal(numbers(20.0, 1, 4, 5.0)[1], numbers(20.0, 21 / 4, 4, 5.0)[1])
    assert torch.equal(numbers(1000.0, 3, 21, 12.0), numbers(128.0, 3, 21, 8.0))


def test_the_embedding_starts_as_nothing_and_learns() -> None:
    embedding = ScanEmbedding(16)
    answer = embedding(numbers(20.0, 3, 21, 5.0)[None])
    assert answer.shape == (1, 16) and not answer.any()
    answer.sum().backward()
    assert bool(embedding.second.bias.grad.any())
