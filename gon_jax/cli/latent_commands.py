"""The subcommands of `gon` for latents: what they are like, unusual and similar examples, a map, a traversal."""

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import gon_jax
from gon_jax._files import write_file, write_json, write_text
from gon_jax.cli.common import (
    Input,
    Part,
    Picture,
    RunFolder,
    Seed,
    arg,
    check_drawn,
    examples_of,
    open_run,
    part_of_run,
    save,
)
from gon_jax.cli.tables import print_table

__all__ = ["COMMANDS"]

MAX_TRAINING = 10_000  # training examples that others are compared with


def latents(run: RunFolder, output: Picture = None) -> dict[str, Any]:
    """Describe the latents: distribution, rank, labels in them.

    Draws histogram, quantiles and spectra; the table goes into a .json beside it.
    """
    from gon_jax.runs.describe import describe_latents

    loaded, trained, output = open_run(run, output, "latents.png", (".png",), beside=(".json",))
    table, z, spectra = describe_latents(loaded, progress=True)
    print_table(table, max(map(len, table)), "{:.4g}")
    write_json(output.with_suffix(".json"), table)
    written = save(output, lambda: gon_jax.plotting.save_latents(output, z, spectra))["written"]
    return {"written": [*written, output.with_suffix(".json")], "metrics": table}


def anomalies(
    run: RunFolder, output: Path | None = None, input: Input = None, split: Part = "test", num: int = 10
) -> dict[str, Any]:
    """Say which examples are most unlike the training data.

    By their reconstruction error, and by the Mahalanobis distance of latents.

    Args:
        output: A .csv of all, by default anomalies.csv in the run's folder.
        num: How many are printed.
    """
    import numpy as np

    loaded, trained, output = open_run(run, output, "anomalies.csv", (".csv",), num=num, reads=input or ())
    train, dataset = _training(loaded)
    examples = examples_of(loaded, input, split, dataset=dataset)
    data = {"x": loaded.sources(examples.images), "target": examples.images}
    scores = gon_jax.inference.anomaly_scores(*trained, loaded.sources(train), data, encoder=loaded.encoder)
    names = _names(examples)
    highest = {
        score: {names[i]: float(values[i]) for i in np.argsort(-values)[:num]} for score, values in scores.items()
    }
    for score, table in highest.items():
        print(f"highest {score}:")
        print_table(table, 20, "{:.4g}")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["example", *scores])
    rows.writerows(zip(names, *(values.tolist() for values in scores.values()), strict=True))
    write_text(output, text.getvalue())
    print(f"{output}: {len(names)} examples")
    return {"written": [output], "num_examples": len(names), "highest": highest}


def neighbors(
    run: RunFolder,
    output: Picture = None,
    input: Input = None,
    split: Part = "test",
    num: Annotated[int, arg(help="How many examples of the dataset.")] = 8,
    num_neighbors: int = 9,
    metric: Literal["euclidean", "cosine"] = "euclidean",
) -> dict[str, Any]:
    """Draw the training examples with the nearest latents.

    Args:
        num_neighbors: How many for each example.
    """
    import numpy as np

    from gon_jax.runs.pictures import names_of

    loaded, trained, output = open_run(
        run, output, "neighbors.png", (".png",), num=num, num_neighbors=num_neighbors, reads=input or ()
    )
    check_drawn(loaded)
    train, dataset = _training(loaded)
    examples = examples_of(loaded, input, split, None if input is not None else num, dataset)
    z_train, z = (
        gon_jax.inference.encode_dataset(*trained, loaded.sources(images), encoder=loaded.encoder, progress="encode")
        for images in (train, examples.images)
    )
    _, index = gon_jax.latents.nearest_neighbors(z_train, z, num_neighbors, metric=metric)
    grid = np.stack([np.concatenate([x[None], train[i]]) for x, i in zip(examples.images, index, strict=True)])
    columns = ["example", *map(str, range(1, num_neighbors + 1))]
    names = names_of(examples) or []
    return save(
        output,
        lambda: gon_jax.plotting.save_labeled(output, [(gon_jax.plotting.image_grid(grid), names)], columns=columns),
    )


def draw_map(
    run: RunFolder,
    output: Picture = None,
    split: Part = "test",
    method: Literal["pca", "tsne", "umap"] = "pca",
    seed: Seed = 0,
) -> dict[str, Any]:
    """Draw the latents in the plane, by class.

    Args:
        method: Principal components, or t-SNE or UMAP (where umap-learn is installed), which keep neighborhoods.
    """
    import numpy as np

    from gon_jax.data.splits import spread_indices

    loaded, trained, output = open_run(run, output, "map.png", (".png",), seed=seed)
    dataset = loaded.dataset()
    examples = part_of_run(dataset, split)
    shown = spread_indices(len(examples.images), 3000)
    labels, names = np.zeros(len(shown), int), ("examples",) if examples.labels is None else dataset.class_names
    labels = labels if examples.labels is None else examples.labels[shown]
    sources = loaded.sources(examples.images[shown])
    z = gon_jax.inference.encode_dataset(*trained, sources, encoder=loaded.encoder, progress="encode")
    points = gon_jax.latents.latent_map(z, method, seed=seed)
    plot = partial(gon_jax.plotting.save_scatter, names=names, title=f"latents, {method}")
    return save(output, lambda: plot(output, points, labels))


def traverse(run: RunFolder, output: Path | None = None, num: int = 8, span: float = 3.0) -> dict[str, Any]:
    """Draw what the directions of largest variance decode to.

    Args:
        output: A .png, or a .gif that moves; by default traversal.gif in the run's folder.
        num: How many directions.
        span: How far from the mean, in standard deviations.
    """
    import numpy as np
    from PIL import Image

    loaded, trained, output = open_run(run, output, "traversal.gif", (".png", ".gif"), num=num)
    check_drawn(loaded)
    sources = loaded.sources(_training(loaded)[0])
    z = gon_jax.inference.encode_dataset(*trained, sources, encoder=loaded.encoder, progress="encode")
    num_points = 9 if output.suffix == ".png" else 25
    directions = gon_jax.latents.principal_directions(z, min(num, len(z), z[0].size))
    paths = np.stack([gon_jax.latents.traversal(z.mean(axis=0), v, num_points, span) for v in directions])
    x_hat = gon_jax.inference.decode_latents(*trained, paths.reshape(-1, *z.shape[1:]))
    grid = x_hat.reshape(*paths.shape[:2], *x_hat.shape[1:])
    if output.suffix == ".png":
        return save(output, lambda: gon_jax.plotting.save_traversal(output, grid, span))
    frames = [gon_jax.plotting.image_grid(gon_jax.plotting.to_pixels(grid[:, i]), len(grid)) for i in range(num_points)]
    images = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]
    there_and_back = images + images[-2:0:-1]
    options = {"save_all": True, "append_images": there_and_back[1:], "duration": 80, "loop": 0}
    write_file(output, lambda file: there_and_back[0].save(file, "GIF", **options))
    print(output)
    return {"written": [output]}


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "latents": latents,
    "anomalies": anomalies,
    "neighbors": neighbors,
    "map": draw_map,
    "traverse": traverse,
}


def _training(loaded):
    """Return at most 10,000 training examples, spread over all, and the run's dataset."""
    from gon_jax.data.splits import spread_indices

    dataset = loaded.dataset()
    images = dataset.train.images
    return images[spread_indices(len(images), MAX_TRAINING)], dataset


def _names(examples):
    return [f"number {i}" for i in range(len(examples.images))] if examples.names is None else list(examples.names)
