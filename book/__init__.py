"""What stands behind the book: measured claims, figures, and the site. Not shipped with the package."""

from pathlib import Path
from types import MappingProxyType
from typing import Final

ROOT: Final = Path(__file__).parent.parent

CHAPTERS: Final = MappingProxyType(
    {
        "backpropagation": ("docs/01-Backpropagation.md",),
        "gradient_descent": ("docs/02-Gradient-Descent.md",),
        "gd_variants": ("docs/03-GD-Variants.md",),
        "optimizers": ("docs/04-Optimizers.md",),
        "monitoring": ("docs/05-Monitoring-Training.md",),
        "notebooks": (
            "notebooks/data_generation.ipynb",
            "notebooks/gradient_descent.ipynb",
            "notebooks/gd_vs_mini_gd_vs_sgd.ipynb",
        ),
        "readme": ("README.md",),
    }
)
"""The documents whose numbers are claims; a key names the modules in claims/ and figures/ that measure and draw."""
