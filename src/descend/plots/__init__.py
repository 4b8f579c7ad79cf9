"""Figures drawn from runs: a catalog, one figure a file.

PLOTS["loss"]([run]).save("loss.svg")
"""

from typing import Final

from descend.catalog import Catalog

PLOTS: Final = Catalog("descend.plots", "figure")
