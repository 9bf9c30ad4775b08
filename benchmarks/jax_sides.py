"""The sides in JAX: plain JAX, our definition and our fast form, training or encoding; and a decoder trained alone.

Ours makes all steps of a call in one program, as `gon_jax.fit` does; plain JAX is one call for each.

Bytes alive during a step: arguments, temporaries and results of the compiled program, as XLA's own analysis gives
them; a result that reuses the memory of an argument counts once.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

import gon_jax
from benchmarks import cases, plain_jax
from benchmarks.cases import Case, Side
from benchmarks.sides import ALONE
from gon_jax.base import Model, Variables, match
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.freezing import FrozenEncoder
from gon_jax.linearization import Strategy, choose_strategy
from gon_jax.models import gon, vgon
from gon_jax.training import init_state, make_optimizer, train_step

STRATEGIES = {
    "jax-plain": "definition",
    "jax-definition": "definition",
    "jax-fast": None,
    "jax-frozen": None,
    ALONE: None,
}


def make_decoder(case: Case) -> gon_jax.Decoder:
    """Return the decoder of a case."""
    if case.kind == "siren":
        options = {"hidden_dim": case.hidden_dim, "num_layers": case.num_layers}
        return siren_decoder(grid(case.image_size, case.image_size), case.latent_size, case.channels, **options)
    shape = (case.image_size, case.image_size, case.channels)
    return conv_decoder(shape, (case.latent_size,), base_channels=case.base_channels)


def make_model(case: Case, strategy: Strategy | None = None) -> Model:
    """Return the model of a case; a variational one is fast where its noise is one for all examples."""
    decoder = make_decoder(case)
    if case.kind == "vgon":
        return vgon(decoder, step_size=case.step_size)
    return gon(decoder, step_size=case.step_size, strategy=strategy)


def decoder_alone(model: Model, case: Case) -> Model:
    """Return the model's decoder trained without an encoder: the latents are given, "z" of a batch `[B, *latent]`."""
    decoder, _ = match(make_decoder(case), model.likelihood)

    def loss(variables, batch, key):
        params = variables.params["decoder"] if case.kind == "vgon" else variables.params
        output, _ = decoder.apply(params, batch["z"])
        return model.likelihood(output, batch["x"]).mean(), variables.stats

    return dataclasses.replace(model, loss=loss)


def make_batches(case: Case, strategy: Strategy | None = None) -> dict[str, jax.Array]:
    """Return the batches of a case, `[NUM_BATCHES, ...]` each."""
    data = {"x": jnp.asarray(cases.images(case))}
    if case.kind == "vgon":
        inner, outer = jnp.moveaxis(jnp.asarray(cases.noise(case)), 1, 0)
        one = case.shared_noise and strategy != "definition"
        data |= {"inner_noise": inner[:, 0] if one else inner, "outer_noise": outer}
    return data


def form_of(case: Case, params, strategy: Strategy | None) -> Strategy:
    """Return how a side computes its latents."""
    if case.kind == "vgon":
        params, strategy = params["decoder"], strategy if case.shared_noise else "definition"
    return choose_strategy(make_decoder(case), params, case.batch_size, strategy)


def compile_training(model: Model, case: Case, params, data):
    """Return the compiled program of n steps through the batches in turn, and `run(n)`, the losses of its first."""
    optimizer = make_optimizer(case.learning_rate, epsilon=case.adam_epsilon)
    state = init_state(model, optimizer, jax.random.key(0))
    state = state._replace(params=params, opt_state=optimizer.init(params))

    def steps(state, data, num_steps):
        def body(i, carry):
            state, losses = carry
            batch = jax.tree.map(lambda batches: batches[state.step % cases.NUM_BATCHES], data)
            state, loss = train_step(model, optimizer, state, batch)
            return state, losses.at[i].set(loss)  # past the end, nothing is set

        return jax.lax.fori_loop(0, num_steps, body, (state, jnp.zeros(case.agreement_steps)))

    compiled = jax.jit(steps, donate_argnums=0).lower(state, data, jnp.int32(0)).compile()

    def run(num_steps):
        nonlocal state
        state, losses = jax.block_until_ready(compiled(state, data, jnp.int32(num_steps)))
        return losses

    return compiled, run


def compile_encoding(model: Model, frozen: bool, params, data):
    """Return the compiled encoder of a batch, and `run(n)`, the latents of the last of n batches in turn."""
    batches, encode, variables = list(data), model.encode, Variables(params)
    if frozen:  # by the mean cotangent of the first batch, whose latents are compared
        _, stats = model.loss(variables, {"x": batches[0]}, jax.random.key(0))
        variables, encode = jax.jit(model.capabilities.freeze)(Variables(params, stats)), FrozenEncoder.__call__
    compiled = jax.jit(encode).lower(variables, batches[0]).compile()
    made = 0

    def run(num_batches):
        nonlocal made
        for _ in range(num_batches):
            z = compiled(variables, batches[made % len(batches)])
            made += 1
        return jax.block_until_ready(z)

    return compiled, run


def compile_plain(task: str, case: Case):
    """Return the compiled program of a step (or of encoding a batch) in plain JAX, and `run(n)`, as the others."""
    params, data = plain_jax.make_params(case, cases.weights(case)), make_batches(case, "definition")
    batches = list(zip(*data.values(), strict=True))
    optimizer, step = plain_jax.make_step(case)
    opt_state, made = optimizer.init(params), 0
    if task == "train":
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, opt_state, *batches[0]).compile()
    else:
        encode, _ = plain_jax.make_functions(case)
        compiled = jax.jit(encode).lower(params, *batches[0]).compile()

    def run(num):
        nonlocal params, opt_state, made
        results = []
        for _ in range(num):
            batch, made = batches[made % len(batches)], made + 1
            if task == "train":
                params, opt_state, result = compiled(params, opt_state, *batch)
            else:
                result = compiled(params, *batch)
            results.append(result)
        return np.array(jax.block_until_ready(results)) if task == "train" else jax.block_until_ready(result)

    return compiled, run


def make(task: str, name: str, case: Case, device: str) -> Side:
    """Build and compile a side; `task` is "train" or "encode"."""
    del device  # JAX_PLATFORMS says it; products have JAX's default precision, as a user's: TF32 on GPUs
    params = jax.tree.map(jnp.asarray, cases.flax_params(case, cases.weights(case)))
    strategy = STRATEGIES[name]
    model, data = make_model(case, strategy), make_batches(case, strategy)
    apart = 0  # bytes of data that are no arguments of the program
    start = time.perf_counter()
    if name == "jax-plain":
        compiled, run = compile_plain(task, case)
        form = "definition" if task == "train" else None
        apart = sum(a.nbytes for a in jax.tree.leaves(data)) * (cases.NUM_BATCHES - 1) // cases.NUM_BATCHES
    elif name == ALONE:
        shape = (*data["x"].shape[:2], *model.latent_shape)
        data = {"x": data["x"], "z": jax.random.normal(jax.random.key(0), shape)}
        compiled, run = compile_training(decoder_alone(model, case), case, params, data)
        form = "decoder"
    elif task == "train":
        compiled, run = compile_training(model, case, params, data)
        form = form_of(case, params, strategy)
    else:
        compiled, run = compile_encoding(model, name == "jax-frozen", params, data["x"])
        form = None
    seconds = time.perf_counter() - start
    values = np.ravel(run(case.agreement_steps if task == "train" else 1)).tolist()

    memory = compiled.memory_analysis()
    kinds = ("argument", "temp", "output")
    peak = sum(getattr(memory, f"{kind}_size_in_bytes") for kind in kinds) - memory.alias_size_in_bytes + apart

    def multiplication(n):
        a, product = jax.random.uniform(jax.random.key(0), (n, n)), jax.jit(jnp.dot)
        return lambda: product(a, a).block_until_ready()

    return Side(
        seconds_compile=seconds,
        values=values,
        run=run,
        peak_bytes=lambda: peak,
        products={"jnp.dot": multiplication},
        own_product="jnp.dot",
        form=form,
        notes={
            "xla_flops": (compiled.cost_analysis() or {}).get("flops"),
            "precision": jax.config.jax_default_matmul_precision or "default",
        },
    )
