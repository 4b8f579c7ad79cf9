"""Training loops of dense networks as machine code: the step of chapter 1 by hand, the update rules of the catalog as
they are written, compiled by numba (`pip install 'descend[fast]'`).

`network` trains one network after the other, each small enough for the cache. `lanes` trains linear models side by
side, one in each lane of the processor's vectors. Nothing here is imported before it is used: numba takes half a
second to start.
"""
