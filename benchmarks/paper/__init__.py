"""The paper's tables and figures, each by one command: `python -m benchmarks.paper NAME`."""

from benchmarks.paper import controls, errors, latents, pictures
from benchmarks.paper.experiment import Arm, Experiment, Interrupted, reproduce
from benchmarks.paper.protocol import Protocol
from benchmarks.paper.records import Record, Records

_ORDER = "table1 table2 fig2a fig2b fig2c fig3a fig3b fig3c fig4a fig4b fig4c fig4d fig4e fig5".split()
_ORDER += "fig6a fig6b fig6c fig6d fig6e fig7a fig7b fig7c fig7d fig7e fig8 fig9a fig9b fig10a fig10b fig10c".split()
_ORDER += "fig11a fig11b fig12 fig13 fig14 fig15a fig15b fig15c fig15d fig15e fig16a fig16b fig16c fig17".split()
_ALL = {e.name: e for module in (errors, pictures, latents, controls) for e in module.EXPERIMENTS}
EXPERIMENTS: dict[str, Experiment] = {name: _ALL[name] for name in _ORDER}
EXPERIMENTS |= {name: e for name, e in _ALL.items() if name.startswith("control")}

__all__ = ["EXPERIMENTS", "Arm", "Experiment", "Interrupted", "Protocol", "Record", "Records", "reproduce"]
