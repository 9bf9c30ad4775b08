"""Train the preset of the published logs for some epochs, several seeds, and record the test error after each.

    python -m benchmarks.quality --dataset mnist --seeds 0 1 2 --epochs 50
    python -m benchmarks.quality --dataset mnist --seeds 0 --core 0 --minutes 15  # on one core, a piece of it

All 60,000 training images; nothing is selected on the test set. Each seed has its result, written after every epoch; a
run that was stopped goes on by the same command. The counterpart in PyTorch is `quality_torch.py`.
"""

from collections.abc import Callable
from functools import partial

import jax

from benchmarks.quality_record import Deadline, Record, parse
from gon_jax.checkpoints import Checkpoints
from gon_jax.data import Dataset
from gon_jax.metrics import evaluate
from gon_jax.runs import PRESETS, Config
from gon_jax.training import fit, init_state

PRESET = {"mnist": "gon-mnist-256", "fashion_mnist": "gon-fashion-256"}


def train(config: Config, dataset: Dataset, record: Record, epochs: int, should_stop: Callable[[], bool]) -> None:
    """Train the seed of a record, from its checkpoint if there is one."""
    model, training = config.build(dataset.train.images.shape[1:]), config.training
    optimizer, test = training.optimizer(), dataset.test.images
    steps_per_epoch = len(dataset.train.images) // training.batch_size
    key, state, seconds = jax.random.key(record.protocol["seed"]), None, 0.0
    with Checkpoints(record.folder, metric="epoch", create=True) as checkpoints:
        if checkpoints.steps:
            kept = checkpoints.read_config()
            record.go_on(kept["record"])
            state = checkpoints.restore(jax.eval_shape(partial(init_state, model, optimizer), key))
            seconds = kept["seconds"]
        if len(record.curve) >= epochs:
            return

        def on_report(report):
            epoch, rest = divmod(report.step, steps_per_epoch)
            if not rest:
                batch, running = (
                    evaluate(model, report.state.variables, test, evaluation=by)["squared_error"]
                    for by in ("batch", "running")
                )
                point = {"epoch": epoch, "test_squared_error": batch, "test_squared_error_running": running}
                record.add(point | {"seconds": seconds + report.seconds})
            if not rest or report.stopping:
                kept = {"record": record.kept(), "seconds": seconds + report.seconds}
                checkpoints.save(report.step, report.state, kept, {"epoch": epoch})

        fit(
            model,
            dataset.train.images,
            epochs * steps_per_epoch,
            key,
            optimizer=optimizer,
            batch_size=training.batch_size,
            stats_decay=training.stats_decay,
            validate_every=steps_per_epoch,
            state=state,
            should_stop=should_stop,
            on_report=on_report,
        )


def main(argv=None):
    args = parse(__doc__, argv)
    config, should_stop = PRESETS[PRESET[args.dataset]], Deadline(args.minutes)
    dataset = config.data.load()
    protocol = {
        "what": "gon_jax; test_squared_error by batch statistics as the logs, _running by averaged ones",
        "preset": PRESET[args.dataset],
        "latent_size": config.latent_shape[0],
        "base_channels": config.network.base_channels,
        "learning_rate": config.training.learning_rate,
        "batch_size": config.training.batch_size,
    }
    for seed in args.seeds:
        if not should_stop():
            train(config, dataset, Record("jax", seed, args, protocol), args.epochs, should_stop)


if __name__ == "__main__":
    main()
