"""Every test runs with shapes checked: jaxtyping annotations are enforced by beartype."""

from jaxtyping import install_import_hook

install_import_hook("descend", "beartype.beartype")
