"""The limit of an evaluation: the matrix products of the forward pass."""

from benchmarks.contestants.matmul import Matmul, Product


class MatmulForward(Matmul):
    """No backward pass."""

    def step(self, x: list[Product]) -> None:
        """Each product once."""
        for product in x:
            product.forward()


CONTESTANT = MatmulForward
