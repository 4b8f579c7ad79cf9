"""Every test runs with shapes checked: jaxtyping annotations are enforced by beartype."""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("descend", "beartype.beartype")

settings.register_profile("descend", deadline=None)  # a first example may import torch or wait for a busy machine
settings.load_profile("descend")
