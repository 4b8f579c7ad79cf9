"""Which optimizer: every one with the same budget of configurations and seeds, and what chance would explain.

Tuning is part of what is compared. In each repeat an optimizer draws learning rates of its own, trains each once, keeps
the one with the lowest loss, and trains that again with fresh seeds. Only the fresh runs count: the best of many runs
is partly luck, which does not come again (the winner's curse). A repeat is one observation, so that an interval holds
the luck of the draw, of the tuning and of the seeds, and an optimizer beside itself comes out as no different.

The seeds of a repeat are the same for all, so that repeats are compared in pairs. A run is judged by its lowest loss on
validation rows over the evaluations, which is what early stopping would keep; one that diverges keeps what it had.
"""
