"""The paper's tables and figures, each by one command: `python -m benchmarks.paper NAME`."""

from benchmarks.paper import error_figures, latent_figures, picture_figures
from benchmarks.paper.experiment import SCALES, Arm, Experiment, Interrupted, Scale, reproduce, stem

_ORDER = "table1 table2 fig2a fig2b fig2c fig3 fig4 fig5 fig6 fig7 fig8 fig9a fig9b fig10a fig10b fig10c".split()
_ORDER += "fig11a fig11b fig12 fig13 fig14 fig15 fig16 fig17".split()
_ALL = {e.name: e for module in (error_figures, picture_figures, latent_figures) for e in module.EXPERIMENTS}
EXPERIMENTS: dict[str, Experiment] = {name: _ALL[name] for name in _ORDER}

__all__ = ["EXPERIMENTS", "SCALES", "Arm", "Experiment", "Interrupted", "Scale", "reproduce", "stem"]
