"""The limit: the matrix products of a training step, and nothing else."""

import torch
from torch import Tensor

from benchmarks.contestants.contestant import Array, Contestant, Task

ROWS = 250  # of one product: what ran fastest, as its matrices stay in the cache


class Matmul(Contestant):
    """The products of the forward and the backward pass, at the same shapes, into memory that is there already."""

    dtype = torch.float32

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        torch.set_num_threads(task.threads)
        encoder, decoder = ("q1", "q2", "q_mean", "q_log_scale"), ("p1", "p2", "p_logits")
        self.encoder = [self._weight(name) for name in encoder]
        self.decoder = [self._weight(name) for name in decoder]

    def _weight(self, name: str) -> Tensor:
        return torch.from_numpy(self.task.layer(name)[0]).to(self.dtype)

    def load(self, x: Array) -> list["Product"]:
        """All products of one step, those of equal shape in the same memory."""
        images, samples = len(x), self.task.k * len(x)
        whole, rest = divmod(samples, ROWS)
        first, *others = self.encoder
        return [
            Product(first, images, to_input=False),
            *(Product(weight, images) for weight in others),
            *[Product(weight, ROWS) for weight in self.decoder] * whole,
            *(Product(weight, rest) for weight in self.decoder if rest),
        ]

    def step(self, x: list["Product"]) -> None:
        """Each forward and backward while its matrices are in the cache."""
        for product in x:
            product.forward()
            product.backward()

    def bound(self, x: list["Product"]) -> None:
        """None: there is no model."""


class Product:
    """One linear map of `rows` vectors, and its two products of the backward pass (one if the input is data)."""

    def __init__(self, weight: Tensor, rows: int, to_input: bool = True) -> None:
        outputs, inputs = weight.shape
        self.weight, self.to_input = weight, to_input
        self.input, self.input_gradient = (torch.rand(rows, inputs).to(weight) for _ in range(2))
        self.output, self.output_gradient = (torch.rand(rows, outputs).to(weight) for _ in range(2))
        self.weight_gradient = torch.empty_like(weight)

    def forward(self) -> None:
        """Inputs to outputs."""
        torch.mm(self.input, self.weight.T, out=self.output)

    def backward(self) -> None:
        """Output gradients to weight and input gradients."""
        torch.mm(self.output_gradient.T, self.input, out=self.weight_gradient)
        if self.to_input:
            torch.mm(self.output_gradient, self.weight, out=self.input_gradient)


CONTESTANT = Matmul
