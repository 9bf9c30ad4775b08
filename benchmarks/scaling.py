"""What a training step costs on n devices: counted in the compiled program, and by a model in arithmetic.

    python -m benchmarks.scaling            # results/scaling.json, the tables of its page and their picture
    python -m benchmarks.scaling --table    # tables and picture from the JSON

The program is that of `fit`, compiled for 1, 2, 4 and 8 virtual devices of a CPU; nothing is timed.
"""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable
from contextlib import nullcontext

import jax
import numpy as np

from benchmarks import cases, report
from benchmarks.cases import CONV, IMPLICIT, Case
from benchmarks.tables import load, markdown, number, sources
from gon_jax.base import Model
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, conv_encoder, siren_decoder
from gon_jax.models import autoencoder, gon, vgon
from gon_jax.plotting.canvas import new_figure, save_figure
from gon_jax.training import init_state, make_optimizer
from gon_jax.training.devices import place, placement_of
from gon_jax.training.resident import Resident

PAGE = report.PAGE.with_name("scaling.md")
COUNTS = (1, 2, 4, 8)
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
# Assumed, not measured: an accelerator that sustains 10 TFLOP/s on these layers, 25 GB/s (200 Gbit/s) in each direction
# to its neighbors, 5 microseconds for a message.
FLOPS_PER_SECOND, BYTES_PER_SECOND, SECONDS_PER_MESSAGE = 1e13, 2.5e10, 5e-6


@dataclasses.dataclass(frozen=True)
class Setting:
    """A model, and what its step costs by our count.

    Attributes:
        case: the decoder's sizes, and the batch size.
        make: the model.
        passes: decoder passes of an example (see `gon_jax.linearization.strategy_costs`).
        whole: decoder passes that every device makes, whatever its part of the batch.
        spread: decoder passes for the whole batch that devices share: the tangents of J.
        jacobian: whether J is computed, and multiplied with every example.
        terms: of the gradient that are summed over devices each by itself.
        normalized: channels that a batch normalization averages, in all passes, forward and backward.
        points: numbers of the first layer at all points of a grid, which are summed before its weights' gradient.
    """

    case: Case
    make: Callable[[], Model]
    passes: float
    whole: float
    spread: float = 0
    jacobian: bool = False
    terms: int = 1
    normalized: int = 0
    points: int = 0

    def flops(self, batch_size: int, num_devices: int) -> float:
        """Return the floating-point operations of a step on each device."""
        examples, case = batch_size / num_devices, self.case
        passes = self.passes * examples + self.whole + self.spread / num_devices
        product = 6 * case.latent_size * case.pixels * case.channels if self.jacobian else 0
        return passes * cases.decoder_flops(case) + product * examples

    def reduced_bytes(self, num_parameters: int) -> int:
        """Return the bytes of all-reduces: gradients, the cotangents of J and of F(z0), statistics, the loss."""
        outputs = self.case.pixels * self.case.channels
        jacobian = self.case.latent_size * outputs if self.jacobian else 0
        mean = (2 if self.normalized else 1) * outputs if self.whole else 0
        return 4 * (self.terms * num_parameters + jacobian + mean + self.normalized + self.points + 1)

    def gathered_bytes(self) -> int:
        """Return the bytes of all-gathers: J, where devices share its tangents."""
        return 4 * self.case.latent_size * self.case.pixels * self.case.channels if self.spread else 0


def conv(norm="batch"):
    shape = (CONV.image_size, CONV.image_size, CONV.channels)
    return conv_decoder(shape, (CONV.latent_size,), base_channels=CONV.base_channels, norm=norm)


def encoder(norm="batch"):
    shape = (CONV.image_size, CONV.image_size, CONV.channels)
    return conv_encoder(shape, (CONV.latent_size,), base_channels=CONV.base_channels, norm=norm)


def siren():
    return siren_decoder(grid(IMPLICIT.image_size, IMPLICIT.image_size), IMPLICIT.latent_size)


K, C = CONV.latent_size, IMPLICIT.channels
CHANNELS = sum(fan_out for _, fan_out, _ in cases.layers(CONV)[:-1])  # normalized: all layers but the last
POINTS = IMPLICIT.pixels * IMPLICIT.hidden_dim
SETTINGS = {
    "gon, batch": Setting(CONV, lambda: gon(conv()), 3, 3, 3 * K, jacobian=True, terms=2, normalized=4 * CHANNELS),
    "gon, none": Setting(CONV, lambda: gon(conv("none")), 3, 3, 3 * K, jacobian=True, terms=2),
    "gon, none, pullback": Setting(CONV, lambda: gon(conv("none"), strategy="pullback"), 6, 3, terms=2),
    "vgon, batch": Setting(CONV, lambda: vgon(conv()), 9, 0, terms=3, normalized=8 * CHANNELS),
    "vgon, none": Setting(CONV, lambda: vgon(conv("none")), 9, 0, terms=3),
    "implicit": Setting(IMPLICIT, lambda: gon(siren()), 3, 3 * (1 + C), jacobian=True, points=POINTS),
    "autoencoder, batch": Setting(CONV, lambda: autoencoder(conv(), encoder()), 6, 0, normalized=8 * CHANNELS),
    "autoencoder, none": Setting(CONV, lambda: autoencoder(conv("none"), encoder("none")), 6, 0),
}


# -- counted ---------------------------------------------------------------------------------------------------------


def collectives(text: str) -> dict[str, dict[str, int]]:
    """Return the number of each kind of collective in a compiled program, and the bytes that they leave on a device.

    >>> collectives("%a = (f32[2,3]{1,0}, f32[]) all-reduce(%b, %c), channel_id=1")["all-reduce"]
    {'number': 1, 'bytes': 28}
    """
    found = {kind: {"number": 0, "bytes": 0} for kind in KINDS}
    for result, kind in re.findall(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(", text):
        shapes = re.findall(r"(\w+)\[([\d,]*)\]", result)
        found[kind]["number"] += 1
        found[kind]["bytes"] += sum(BYTES[t] * math.prod(map(int, filter(None, s.split(",")))) for t, s in shapes)
    return found


def count(name: str, num_devices: int) -> dict:
    """Compile the training step that `fit` runs on these devices, and count in it; a step is its loop's body."""
    setting = SETTINGS[name]
    model, optimizer, batch_size = setting.make(), make_optimizer(), setting.case.batch_size
    placement = placement_of(batch_size, jax.devices()[:num_devices])
    state = init_state(model, optimizer, jax.random.key(0))
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    state = state if placement is None else place(state, placement.whole)
    images = np.zeros((2 * batch_size, *model.data_shape), np.uint8)
    feed = Resident({"x": images}, batch_size=batch_size, most=50, placement=placement)
    with nullcontext() if placement is None else jax.set_mesh(placement.mesh):  # as fit does
        compiled = feed.lower(model, state, optimizer=optimizer, placement=placement).compile()
    costs = compiled.cost_analysis()
    return {
        "flops": costs["flops"],
        "bytes_accessed": costs["bytes accessed"],
        "num_parameters": num_parameters,
        "batch_bytes": 4 * batch_size * math.prod(model.data_shape),
        "collectives": collectives(compiled.as_text()),
    }


# -- predicted -------------------------------------------------------------------------------------------------------


def all_reduce_seconds(num_bytes: float, num_messages: float, num_devices: int) -> float:
    """Return the time of all-reduces, each by a ring or by a tree, whichever is faster.

    A ring passes 2 (n - 1) messages one after another, which carry 2 (n - 1) / n of the bytes in all; a tree passes
    2 log2 n, each of which carries all of them.

    >>> all_reduce_seconds(1e6, 3, 1)
    0.0
    """
    n = num_devices
    ring = 2 * (n - 1) * (num_messages * SECONDS_PER_MESSAGE + num_bytes / n / BYTES_PER_SECOND)
    tree = 2 * math.log2(n) * (num_messages * SECONDS_PER_MESSAGE + num_bytes / BYTES_PER_SECOND)
    return min(ring, tree)


def efficiency(setting: Setting, seen: dict, batch_size: int, num_devices: int) -> float:
    """Return how many times faster a step is on n devices than on one, over n; of a batch of all devices together."""

    def seconds(n):
        reduced, number = setting.reduced_bytes(seen["num_parameters"]), seen["collectives"]["all-reduce"]["number"]
        gathered = setting.gathered_bytes()
        gather = all_reduce_seconds(gathered, 1, n) / 2 if gathered else 0  # the second half of an all-reduce
        return setting.flops(batch_size, n) / FLOPS_PER_SECOND + all_reduce_seconds(reduced, number, n) + gather

    return seconds(1) / (num_devices * seconds(num_devices))


# -- the page --------------------------------------------------------------------------------------------------------


def counts_table(counted: dict) -> str:
    """Return a row for each model and number of devices: what was counted, over what the model says."""
    rows = [["batch of 64", "devices", "MFLOP of a device", "over the model's", "MB accessed"]]
    rows[0] += ["all-reduces", "MB in them", "over the model's", "other collectives"]
    for name, of in counted.items():
        for n, seen in of.items():
            setting, found = SETTINGS[name], seen["collectives"]
            reduced, ours = found["all-reduce"], setting.reduced_bytes(seen["num_parameters"])
            others = [
                f"{seen['number']} {kind}, {number(seen['bytes'] / 1e6)} MB"
                for kind, seen in found.items()
                if seen["number"] and kind != "all-reduce"
            ]
            row = [name if n == "1" else "", n, number(seen["flops"] / 1e6)]
            row += [f"{seen['flops'] / setting.flops(setting.case.batch_size, int(n)):.2f}"]
            row += [number(seen["bytes_accessed"] / 1e6), str(reduced["number"])]
            row += ["", "", ""] if n == "1" else [number(reduced["bytes"] / 1e6), f"{reduced['bytes'] / ours:.2f}"]
            rows.append([*row, ", ".join(others) or "none"] if n != "1" else row)
    return markdown(rows)


BATCHES = {"4,096 examples in all": lambda n: 4096, "64 examples on each device": lambda n: 64 * n}


def efficiency_table(counted: dict) -> str:
    """Return predicted efficiencies."""
    at = (8, 64, 1024)
    rows = [["predicted efficiency", *(f"{words}, {n:,} devices" for words in BATCHES for n in at)]]
    for name, of in counted.items():
        values = [efficiency(SETTINGS[name], of["8"], batch_of(n), n) for batch_of in BATCHES.values() for n in at]
        rows.append([name, *(f"{value:.0%}" for value in values)])
    return markdown(rows)


def draw(counted: dict) -> None:
    """Draw predicted efficiency over the number of devices."""
    figure = new_figure(9, 3.6)
    devices = [2**i for i in range(11)]
    for i, (axes, (words, batch_of)) in enumerate(
        zip(figure.subplots(1, 2, sharey=True), BATCHES.items(), strict=True)
    ):
        for j, (name, of) in enumerate(counted.items()):
            values = [efficiency(SETTINGS[name], of["8"], batch_of(n), n) for n in devices]
            axes.plot(devices, values, color=f"C{j}", ls="-" if j < 4 else "--", marker="o^sv"[j % 4], ms=3, label=name)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="devices", title=words, ylim=(0, 1.02), xticks=devices[::2])
        axes.xaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
        if i == 0:
            axes.set_ylabel("predicted efficiency")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    save_figure(report.RESULTS / "scaling.png", figure)


def page_with(text: str, result: dict) -> str:
    """Return the page's text with its tables."""
    counted = result["counted"]
    text = report.page_with(text, "counted", f"{counts_table(counted)}\n\n{sources({'scaling': result})}")
    return report.page_with(text, "predicted", efficiency_table(counted))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if not parser.parse_args().table:
        jax.config.update("jax_num_cpu_devices", max(COUNTS))
        counted: dict[str, dict] = {}
        for name in SETTINGS:
            for n in COUNTS:
                counted.setdefault(name, {})[str(n)] = seen = count(name, n)
                print(name, n, seen, flush=True)
        report.write("scaling", {"counted": counted}, report.provenance())
    result = load("scaling")
    PAGE.write_text(page_with(PAGE.read_text(), result))
    draw(result["counted"])


if __name__ == "__main__":
    main()
