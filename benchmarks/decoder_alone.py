"""Time a training step beside the decoder that is trained alone, with latents given: what the encoder costs.

    python -m benchmarks.decoder_alone
    python -m benchmarks.step_time_table  # the table in docs/benchmarks.md

Rounds of the sides alternate, so that ratios hold where times don't.
"""

import argparse
import pathlib

from benchmarks import report, step_time, step_time_table
from benchmarks.cases import CASES
from benchmarks.sides import ALONE

NAMES = ("conv", "conv-latent-256", "conv-batch-512", "conv-64px", "conv-128px", "implicit")
SIDES = ("jax-definition", "jax-fast", ALONE)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=NAMES, metavar="CASE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round of one side")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by, options = report.provenance(), (args.rounds, args.seconds, args.device)
    cases = {name: step_time.measure("train", CASES[name], SIDES, *options) for name in args.cases}
    result = {"what": "a training step", "device": args.device, "seconds_per_round": args.seconds, "cases": cases}
    print(report.write(f"decoder_alone_{args.device}", result, made_by, args.results))
    print(step_time_table.decoder_alone_table(result))


if __name__ == "__main__":
    main()
