"""Linear layers of PyTorch by oneDNN, where PyTorch takes MKL: on AMD, MKL's float32 product reaches half the speed.

One product a b^T, whose two gradients are the same product again, so that it has derivatives of every order, in eager
autograd and in `torch.func`. To `torch.compile` it is one opaque call, since Inductor takes oneDNN's for constant
weights alone; and Dynamo cannot look through it inside `torch.func.grad`, so that `plain` has to make a graph first.
"""

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx


@torch.library.custom_op("gon_benchmark::onednn_product", mutates_args=())
def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(a.contiguous(), b.contiguous(), None, "none", [], "")


@_product.register_fake
def _(a, b):
    return a.new_empty(a.shape[0], b.shape[0])


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(a, b):
        return _product(a, b)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        of_a = product(gradient, b.T) if ctx.needs_input_grad[0] else None
        of_b = product(gradient.T, a.T) if ctx.needs_input_grad[1] else None
        return of_a, of_b


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a b^T, `[n, i]` and `[o, i]` to `[n, o]`."""
    return _Product.apply(a, b)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return what `torch.nn.functional.linear` does, `[..., i]` to `[..., o]`."""
    y = product(x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], len(weight))
    return y if bias is None else y + bias


class Linear(nn.Linear):
    def forward(self, x):
        return linear(x, self.weight, self.bias)


def plain(function, *args):
    """Return the graph of a function of these arguments in plain operations, gradients too, for `torch.compile`."""
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*args)
