"""The sides in PyTorch: the authors' algorithm as it stands, compiled, and compiled with our algebra; a frozen encoder.

Each of the first three with the options of `benchmarks.sides`, which tune PyTorch and change no result.

Bytes alive during a step: parameters, Adam's moments, buffers and data, and what torch.profiler sees allocated on top
during one step, at the moment when that is most (on a GPU, the allocator's own count). Memory that a library
allocates by itself, past PyTorch's allocator, is not in it.
"""

import os
import time
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import grad, grad_and_value, jacrev, jvp, vjp, vmap
from torch.profiler import ProfilerActivity, profile

from benchmarks import cases, onednn, torch_gon
from benchmarks.cases import Case, Side
from benchmarks.sides import split

FORMS = {"torch-compiled": "definition", "torch-compiled-shared": None}  # None is the one with the fewest operations


def memory_format(options: frozenset[str]) -> torch.memory_format:
    """Return the memory format of images and kernels."""
    return torch.channels_last if "channels-last" in options else torch.contiguous_format


class Eager:
    """The authors' algorithm, by double backward; torch's default Adam."""

    form = "definition"

    def __init__(self, case: Case, weights: dict[str, np.ndarray], device: str, options: frozenset[str] = frozenset()):
        self.case, self.memory_format = case, memory_format(options)
        if case.kind != "siren":
            make = torch_gon.decoder if case.kind == "conv" else torch_gon.Variational
            network = make(case.latent_size, case.base_channels, case.channels, case.image_size)
        else:
            sizes = case.image_size, case.channels, case.hidden_dim, case.num_layers
            linear = onednn.Linear if "onednn" in options else torch.nn.Linear
            network = torch_gon.Siren(case.latent_size, *sizes, linear)
        missing, unexpected = network.load_state_dict({n: torch.tensor(w) for n, w in weights.items()}, strict=False)
        if unexpected or {name.split(".")[-1] for name in missing} & {"weight", "bias"}:
            raise ValueError(f"expected the weights of {case.name}, got too many: {unexpected}, too few: {missing}")
        self.network = network.to(device, memory_format=self.memory_format)
        fused = True if "fused" in options else None  # None lets torch choose
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=case.learning_rate, fused=fused)

    def _format(self, x):
        return x.contiguous(memory_format=self.memory_format) if x.ndim == 4 else x

    def step(self, x, *noise):
        case, x = self.case, self._format(x)
        if noise:
            return torch_gon.update_variational(self.network, self.optimizer, x, *noise, case.step_size)
        return torch_gon.update(self.network, self.optimizer, x, case.latent_size, case.step_size, case.loss_divisor)

    def encode(self, x):
        x = self._format(x)
        return torch_gon.encode(self.network, x, self.case.latent_size, self.case.step_size, attached=False)

    def errors(self, x, *noise):
        if noise:
            return sum(torch_gon.bounds(self.network, x, *noise, self.case.step_size)).detach()
        return torch_gon.errors(self.network, x, self.case.latent_size, self.case.step_size).detach()

    def tensors(self):
        self.optimizer.zero_grad()
        moments = [t for state in self.optimizer.state.values() for t in state.values()]
        return [*self.network.parameters(), *self.network.buffers(), *moments]


def batch_norm(layer, h, scale, shift):
    """Normalize by this batch, whose statistics are nobody else's."""
    return F.batch_norm(h, None, None, scale, shift, training=True)


def held_norm(stats: dict):
    """Return a normalization that takes each layer's statistics in its first pass and holds them in all others."""

    def norm(layer, h, scale, shift):
        if layer not in stats:
            mean = h.mean((0, 2, 3), keepdim=True)
            stats[layer] = mean, (h - mean).square().mean((0, 2, 3), keepdim=True)
        mean, variance = stats[layer]
        return (h - mean) * (scale[:, None, None] * torch.rsqrt(variance + 1e-5)) + shift[:, None, None]

    return norm


def conv(params, z, norm=batch_norm, squash=torch.sigmoid):
    """Decode `[B, k, 1, 1]` to `[B, C, H, H]`, as a function of parameters named as in `torch_gon.decoder`."""
    x, layer = z, 0
    while True:
        stride, padding = (2, 1) if layer else (1, 0)
        kernel, bias = params[f"{layer}.weight"], params[f"{layer}.bias"]
        x = F.conv_transpose2d(x, kernel, bias, stride, padding)
        if f"{layer + 1}.weight" not in params:
            return squash(x)
        x = F.elu(norm(layer, x, params[f"{layer + 1}.weight"], params[f"{layer + 1}.bias"]))
        layer += 3


def variational(params, x, z, noise):
    """Return cross-entropy and KL of each example, `[B]`, as a function of parameters named as in `Variational`."""
    mean, logvar = (F.linear(z, params[f"{name}.weight"], params[f"{name}.bias"]) for name in cases.LINEAR)
    t = mean + torch.exp(logvar / 2) * noise
    layers = {name.removeprefix("decoder."): p for name, p in params.items() if name.startswith("decoder.")}
    logits = conv(layers, t[..., None, None], squash=lambda logits: logits)
    entropies = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
    return entropies + 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(1)


def siren(points, params, z, linear=F.linear):
    """Decode `[B, 1, k]`, or a latent for each point `[1, N, k]`, to `[B, N, C]`; the first layer takes z apart."""
    first = params["0.weight"]
    x = linear(points, first[:, :2], params["0.bias"]) + linear(z, first[:, 2:])
    layer = 1
    while f"{layer}.weight" in params:
        x = linear(torch.sin(30 * x), params[f"{layer}.weight"], params[f"{layer}.bias"])
        layer += 1
    return x


def by_definition(decode, z0, step_size, params, x):
    """Encode each example by the gradient at the origin."""
    start = z0.expand(len(x), *z0.shape[1:])
    return start - step_size * grad(lambda z: (x - decode(params, z)).square().sum())(start)


def conv_by_shared_origin(form, z0, step_size, params, x):
    """Encode by the decoder linearized once, A^T (v_b - v_mean) + D^T v_mean; see docs/algebra.md."""
    held = partial(conv, params, norm=held_norm({}))
    v = 2 * (held(z0) - x)
    mean = v.mean(0, keepdim=True)
    (mean_pullback,) = vjp(partial(conv, params), z0)[1](mean)
    if form == "jacobian":
        tangents = torch.eye(z0.numel(), device=z0.device).reshape(-1, *z0.shape)
        jacobian = vmap(lambda tangent: jvp(held, (z0,), (tangent,))[1])(tangents)  # [k, 1, C, H, H]
        pulled = (v - mean).flatten(1) @ jacobian.flatten(1).T
    else:
        pullback = vjp(held, z0)[1]
        pulled = vmap(lambda row: pullback(row[None])[0])(v - mean)
    return z0 - step_size * (pulled.reshape(-1, *z0.shape[1:]) + mean_pullback)


def siren_by_shared_origin(decode, num_points, z0, step_size, params, x):
    """Encode by J from one pull-back of all points, each with a latent of its own, for one channel."""
    output, pullback = vjp(partial(decode, params), z0.expand(1, num_points, -1))
    (jacobian,) = pullback(torch.ones_like(output))  # [1, N, k]
    return z0 - step_size * torch.einsum("bnc,cnk->bck", 2 * (output - x), jacobian)


class Compiled:
    """One compiled function for loss, gradient and Adam's update in place; on a GPU its launches are one graph."""

    def __init__(self, case: Case, weights, device: str, form: str | None, options: frozenset[str] = frozenset()):
        self.case, self.form, self.options = case, form or cases.choose_form(case), options
        known = {"siren": ("definition", "pointwise"), "vgon": ("definition",)}.get(case.kind)
        if known and self.form not in known:
            raise ValueError(f"expected form {' or '.join(known)} of {case.kind}, got {self.form}")
        self.memory_format, self.graph, self.made = memory_format(options), None, 0
        self.params = {n: self._format(torch.tensor(w, device=device)) for n, w in weights.items()}
        self.moments = [{n: torch.zeros_like(p) for n, p in self.params.items()} for _ in range(2)]
        self.count = torch.zeros((), device=device)
        if case.kind == "conv":
            z0, self.decode = torch.zeros(1, case.latent_size, 1, 1, device=device), conv
            shared = partial(conv_by_shared_origin, self.form)
        elif case.kind == "vgon":  # all in `_errors`
            z0, self.decode, shared = None, None, None
        else:
            z0, points = torch.zeros(1, 1, case.latent_size, device=device), torch_gon.coordinates(case.image_size)
            linear = {"linear": onednn.linear} if "onednn" in options else {}
            self.decode = partial(siren, points.to(device), **linear)
            shared = partial(siren_by_shared_origin, self.decode, case.pixels)
        encode = partial(by_definition, self.decode) if self.form == "definition" else shared
        self._encode = partial(encode, z0, case.step_size)
        autotune = device == "cuda" or "max-autotune" in options
        self.mode = "max-autotune-no-cudagraphs" if autotune else None
        self._compiled_step = self._compiled_encode = None

    def compile(self, function, *args):
        """Return a function compiled for arguments like these."""
        function = onednn.plain(function, *args) if "onednn" in self.options else function
        return torch.compile(function, fullgraph=True, mode=self.mode)

    def _format(self, tensor):
        return tensor.contiguous(memory_format=self.memory_format) if tensor.ndim == 4 else tensor

    def _errors(self, params, x, *noise):
        if noise:
            inner, outer = noise
            gradient = grad(lambda z: variational(params, x, z, inner).sum())(torch.zeros_like(inner))
            return variational(params, x, -self.case.step_size * gradient, outer)
        return (x - self.decode(params, self._encode(params, x))).square().flatten(1).sum(1)

    def _plain_step(self, params, first, second, count, *batch):
        gradient, loss = grad_and_value(lambda p: self._errors(p, *batch).mean() / self.case.loss_divisor)(params)
        count.add_(1)
        for name, g in gradient.items():
            first[name].lerp_(g, 0.1)
            second[name].lerp_(g.square(), 0.001)
            root = (second[name] / (1 - 0.999**count)).sqrt() + 1e-8
            params[name].sub_(self.case.learning_rate * first[name] / (1 - 0.9**count) / root)
        return loss

    def _step(self, *batch):
        args = self.params, *self.moments, self.count, *batch
        if self._compiled_step is None:
            self._compiled_step = self.compile(self._plain_step, *args)
        return self._compiled_step(*args)

    def step(self, *batch):
        batch, self.made = [self._format(t) for t in batch], self.made + 1
        if not batch[0].is_cuda or self.made < 4:  # the first steps compile, and warm up what a capture may not hold
            return self._step(*batch)
        if self.graph is None:
            self.graph, self.batch = torch.cuda.CUDAGraph(), [t.clone() for t in batch]
            with torch.cuda.graph(self.graph):
                self.loss = self._step(*self.batch)
        for kept, new in zip(self.batch, batch, strict=True):
            kept.copy_(new)
        self.graph.replay()
        return self.loss.clone()

    def plain_encode(self, x):
        return self._encode(self.params, self._format(x))

    def encode(self, x):
        if self._compiled_encode is None:
            self._compiled_encode = self.compile(self._encode, self.params, self._format(x))
        return self._compiled_encode(self.params, self._format(x))

    def errors(self, *batch):
        return self._errors(self.params, *map(self._format, batch))

    def tensors(self):
        return [*self.params.values(), *(m for moment in self.moments for m in moment.values()), self.count]


class Frozen(Compiled):
    """An encoder as arrays, z = b + x M: M is the decoder's Jacobian at the origin by `torch.func`, computed once.

    Under batch statistics those of the origin are held, and the mean cotangent is that of the given images.
    """

    def __init__(self, case: Case, weights, device: str, x: torch.Tensor):
        super().__init__(case, weights, device, "definition")
        step_size, size = case.step_size, case.latent_size
        z0 = torch.zeros(1, 1, size, device=device) if case.kind == "siren" else x.new_zeros(1, size, 1, 1)
        decode = partial(self.decode, self.params)
        held = partial(conv, self.params, norm=held_norm({})) if case.kind == "conv" else decode
        output = held(z0)
        jacobian = jacrev(held)(z0).reshape(-1, size)
        mean = 2 * (output - x.mean(0, keepdim=True))
        pulled_mean = vjp(decode, z0)[1](mean)[0].flatten()
        self.matrix = 2 * step_size * jacobian
        self.bias = -step_size * ((2 * output - mean).flatten() @ jacobian + pulled_mean)

    def encode(self, x):
        return torch.addmm(self.bias, x.flatten(1), self.matrix)

    def tensors(self):
        return [self.matrix, self.bias]


def setup(device: str) -> str:
    """Use all cores, and on a GPU TF32, as JAX does by default; return torch's name of the device."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision("high" if device == "gpu" else "highest")
    torch.backends.cudnn.allow_tf32 = device == "gpu"
    return "cuda" if device == "gpu" else "cpu"


def make_trainer(name: str, case: Case, weights, device: str) -> Eager | Compiled:
    """Return a side's trainer, with `step`, `encode` and `errors` of batches in torch's layout."""
    base, options = split(name)
    if base == "torch-frozen":
        return Frozen(case, weights, device, to_batches(case, device)[0][0])
    if base == "torch-eager":
        return Eager(case, weights, device, options)
    return Compiled(case, weights, device, FORMS[base], options)


def to_torch(case: Case, images: np.ndarray) -> torch.Tensor:
    """Return images `[..., H, W, C]` in the layout of the case: `[..., C, H, W]`, or `[..., H W, C]` for a siren."""
    tensor = torch.from_numpy(images)
    return tensor.flatten(-3, -2) if case.kind == "siren" else tensor.movedim(-1, -3).contiguous()


def to_batches(case: Case, device: str) -> list[tuple[torch.Tensor, ...]]:
    """Return the arguments of each step: images, and where there is noise, that of the two passes."""
    images = to_torch(case, cases.images(case)).to(device)
    noise = torch.from_numpy(cases.noise(case)).to(device) if case.kind == "vgon" else [()] * len(images)
    return [(x, *of_batch) for x, of_batch in zip(images, noise, strict=True)]


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(function, alive: list[torch.Tensor], device: str) -> int:
    """Return the most bytes alive during a call, given the tensors that were before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        function()
        synchronize(device)
        return torch.cuda.max_memory_allocated()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    records = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(records, key=lambda e: e.start_ns())]
    return sum(t.nbytes for t in alive) + max(0, *np.cumsum(changes).tolist())


def make(task: str, name: str, case: Case, device: str) -> Side:
    """Build and compile a side; `task` is "train" or "encode"."""
    device = setup(device)
    trainer = make_trainer(name, case, cases.weights(case), device)
    batches = to_batches(case, device)
    made = 0

    def one():
        nonlocal made
        made += 1
        return (trainer.step if task == "train" else trainer.encode)(*batches[(made - 1) % len(batches)])

    def run(num_steps):
        for _ in range(num_steps):
            result = one()
        synchronize(device)
        return result

    def multiplication(product, n):
        a = torch.rand(n, n, device=device)

        def multiply():
            product(a, a)
            synchronize(device)

        return multiply

    start = time.perf_counter()
    first = run(1)
    seconds = 0.0 if split(name)[0] not in FORMS else time.perf_counter() - start
    if task == "train":
        losses = [first, *(one() for _ in range(case.agreement_steps - 1))]
        values = [loss.item() * case.loss_divisor for loss in losses]
    else:
        values = first.flatten().tolist()
    form = trainer.form if task == "train" else None
    data = [tensor for batch in batches for tensor in batch]
    products = {"torch.mm": partial(multiplication, torch.mm)}
    if device == "cpu" and torch.backends.mkldnn.is_available():
        products["oneDNN"] = partial(multiplication, onednn.product)
    return Side(
        seconds_compile=seconds,
        values=values,
        run=run,
        peak_bytes=lambda: peak_bytes(one, [*trainer.tensors(), *data], device),
        products=products,
        own_product="oneDNN" if "onednn" in split(name)[1] else "torch.mm",
        form=form,
        notes={"threads": torch.get_num_threads(), "precision": torch.get_float32_matmul_precision()},
    )
