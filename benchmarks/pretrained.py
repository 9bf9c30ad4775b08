"""Train the models that are part of the package; write them there with their cards, and record their figures.

python -m benchmarks.pretrained [FOLDER]

A run that is finished in FOLDER is taken as it is.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks import report
from gon_jax._files import write_text
from gon_jax.pca import mean_error, pca_errors
from gon_jax.runs import PRESETS, load_run, train
from gon_jax.runs.portable import CARD, FILES, write_portable
from gon_jax.runs.saved import read_summary
from gon_jax.runs.shipped import FOLDER

PAGE = Path(__file__).parents[1] / "docs" / "pretrained.md"
OPTIONS = {  # beside the presets'
    "gon-digits": {"num_steps": 6000},
    "vgon-digits": {"num_steps": 6000, "kl_weight": 2.0},  # clearer samples than with 1, at larger errors
    # Between the pixels of 8x8, where nothing holds it, the function has ripples; the step size is of sums over pixels.
    "implicit-digits": {"image_size": 16, "step_size": 1 / 64, "num_steps": 10_000},
}
WHAT = {
    "gon-digits": "A Gradient Origin Network: its latents are gradients at the origin, which one matrix computes.",
    "vgon-digits": "A variational Gradient Origin Network: it has a prior, and samples in one step.",
    "implicit-digits": "An implicit Gradient Origin Network: a function of coordinates, at any resolution.",
}
METRICS = {  # of the evaluation, in words
    "squared_error": "squared error per held-out image",
    "psnr": "PSNR per held-out image, dB",
    "negative_elbo": "-ELBO per held-out image, nats",
    "kl": "of which KL",
    "pca.squared_error": "squared error of PCA with as many components",
    "mean_image.squared_error": "squared error of the mean training image",
}
CARD_TEXT = """---
license: mit
library_name: gon_jax
tags: [gradient-origin-network]
---
# {name}

{what} {num_parameters:,} parameters, {latent_size} latents, images of {size} pixels.

    run = gon_jax.models.pretrained("{name}")

| of the weights as they are here | |
|---|---|
{rows}

- Data: scikit-learn's digits, the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
  C. Kaynak, UCI Machine Learning Repository, doi 10.24432/C50P49), 1,797 images of 8x8 pixels and 17 levels, under
  CC BY 4.0; {resized}. {num_train:,} were trained on, {num_validation} others
  chose the checkpoint (step {step:,}), and {num_test} are held out.
- Training: `{command}`, {seconds:.0f} seconds on
  {cores} of an {processor}, commit {commit}. Kernels are rounded to float16 after it.
- License of the weights: MIT, as the package.
- Limits: {num_train:,} small images of digits by 13 writers, centered and scaled, and the held-out ones are by the
  same writers. It is for demonstrations and tests; anything but such digits it draws badly. One seed.
"""


def options_text(name):
    return " ".join(["gon train", name, *(f"--{k.replace('_', '-')} {v}" for k, v in OPTIONS[name].items())])


def make(name, folder, made_by):
    """Train one model, write it into the package, and return its record."""
    place = folder / name
    if read_summary(place) is None:
        train(PRESETS[name].replace(**OPTIONS[name]), place, pictures=False)
    run, summary = load_run(place), read_summary(place)
    assert summary is not None
    shipped = write_portable(run, FOLDER / name, "", precision="float16")
    data = run.dataset()
    metrics = shipped.evaluate(run.config.model.arrays(data.test))
    pca = pca_errors(data.train.images, data.test.images, summary["latent_size"])
    metrics |= {f"pca.{key}": value for key, value in pca.items()}
    metrics["mean_image.squared_error"] = mean_error(data.train.images, data.test.images)
    rows = [f"| {words} | {metrics[key]:.4g} |" for key, words in METRICS.items() if key in metrics]
    height, width, _ = run.model.data_shape
    command, cores = options_text(name), made_by["hardware"]["affinity"]
    card = CARD_TEXT.format(
        name=name,
        what=WHAT[name],
        rows="\n".join(rows),
        size=f"{height}x{width}",
        resized=f"enlarged to {height}x{width} by a bilinear filter",
        step=run.step,
        command=command,
        seconds=summary["seconds_training"],
        cores=f"{cores} core{'s' * (cores > 1)}",
        num_validation=len(data.validation.images),
        processor=made_by["hardware"]["processor"],
        commit=made_by["commit"][:7],
        **{key: summary[key] for key in ("num_parameters", "latent_size", "num_train", "num_test")},
    )
    write_text(FOLDER / name / CARD, card)
    size = sum((FOLDER / name / file).stat().st_size for file in FILES)
    return {"train": command, "bytes": size, "shipped": metrics, "trained": summary}


def table(models):
    """Return the table of docs/pretrained.md."""
    rows = ["| name | latents | parameters | kB | squared error | PCA | -ELBO, nats |", "|---|---|---|---|---|---|---|"]
    for name, record in models.items():
        trained, shipped, card = record["trained"], record["shipped"], f"../gon_jax/runs/weights/{name}/{CARD}"
        elbo = f"{shipped['negative_elbo']:.1f}" if "negative_elbo" in shipped else ""
        sizes = trained["latent_size"], f"{trained['num_parameters']:,}", round(record["bytes"] / 1000)
        errors = f"{shipped['squared_error']:.3g}", f"{shipped['pca.squared_error']:.3g}"
        rows.append("| " + " | ".join(map(str, (f"[`{name}`]({card})", *sizes, *errors, elbo))) + " |")
    return "\n".join(rows)


def main():
    made_by = report.provenance()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(place)
        models = {name: make(name, folder, made_by) for name in OPTIONS}
    print(report.write("pretrained", {"models": models}, made_by))
    write_text(PAGE, report.page_with(PAGE.read_text(), "pretrained", table(models)))


if __name__ == "__main__":
    main()
