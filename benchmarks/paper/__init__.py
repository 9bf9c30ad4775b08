"""The paper's tables and figures, each by one command: `gon reproduce NAME`."""

from benchmarks.paper import error_figures as comparisons
from benchmarks.paper import latent_figures as codes
from benchmarks.paper import picture_figures as pictures
from benchmarks.paper.experiment import SCALES, Arm, Experiment, Interrupted, Scale, reproduce, stem

_ORDER = "table1 table2 fig2a fig2b fig2c fig3 fig4 fig5 fig6 fig7 fig8 fig9a fig9b fig10a fig10b fig10c".split()
_ORDER += "fig11a fig11b fig12 fig13 fig14 fig15 fig16 fig17".split()
_ALL = {e.name: e for module in (comparisons, pictures, codes) for e in module.EXPERIMENTS}
EXPERIMENTS: dict[str, Experiment] = {name: _ALL[name] for name in _ORDER}

__all__ = ["EXPERIMENTS", "SCALES", "Arm", "Experiment", "Interrupted", "Scale", "reproduce", "stem"]
