"""Time several seeds trained together, by vmap over their states, beside one after another.

    python -m benchmarks.seeds

What decides whether reproductions of several seeds should be one program.
"""

import argparse
import pathlib
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks import report
from gon_jax.runs import Config
from gon_jax.training import init_state, train_steps

CONFIGS = {
    "GON": Config().replace(latent_shape=(256,)),
    "GON, latent 32": Config(),
    "autoencoder": Config().replace(model="autoencoder", latent_shape=(256,)),
}


def seconds_per_step(config: Config, num_seeds: int, together: bool, steps: int, repeats: int) -> float:
    """Return the median seconds of a step of all seeds."""
    model, optimizer = config.build((32, 32, 1)), config.training.optimizer()
    data = {"x": jax.random.randint(jax.random.key(0), (512, 32, 32, 1), 0, 256).astype(jnp.uint8)}
    run = partial(train_steps, model, optimizer, batch_size=config.training.batch_size, num_losses=steps)
    states = jax.vmap(partial(init_state, model, optimizer))(jax.random.split(jax.random.key(1), num_seeds))
    if together:
        call = jax.jit(jax.vmap(run, in_axes=(0, None, None)))
        calls = [lambda: call(states, data, jnp.int32(steps))]
    else:
        call = jax.jit(run)
        each = [jax.tree.map(lambda a: a[i], states) for i in range(num_seeds)]  # noqa: B023
        calls = [partial(call, state, data, jnp.int32(steps)) for state in each]
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        for one in calls:
            jax.block_until_ready(one())
        times += [time.perf_counter() - start] if i else []  # the first compiles
    return statistics.median(times) / steps


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by, rows = report.provenance(), []
    for name, config in CONFIGS.items():
        options = {"num_seeds": args.num_seeds, "steps": args.steps, "repeats": args.repeats}
        together, apart = (1000 * seconds_per_step(config, together=t, **options) for t in (True, False))
        rows.append({"model": name, "ms_together": together, "ms_one_after_another": apart})
        print(f"{name}: {args.num_seeds} seeds together {together:.1f} ms per step, one after another {apart:.1f}")
    result = {"num_seeds": args.num_seeds, "rows": rows}
    print(report.write(f"seeds_{jax.default_backend()}", result, made_by, args.results))


if __name__ == "__main__":
    main()
