"""Gram updates against the machine's symmetric product (dsyrk), in one run on one thread."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from decider.bench.gram import PRODUCT_SHAPES, SHAPES, products_update, update


@pytest.mark.parametrize("shape", SHAPES, ids="m{0[0]}-d{0[1]}".format)
def test_gram_update(compare, shape: tuple[int, int]) -> None:
    with threadpool_limits(1):
        compare(update(*shape, threads=1))


@pytest.mark.parametrize("shape", PRODUCT_SHAPES, ids="m{0[0]}-r{0[1]}-d{0[2]}".format)
def test_gram_products_update(compare, shape: tuple[int, int, int]) -> None:
    with threadpool_limits(1):
        compare(products_update(*shape, threads=1))
