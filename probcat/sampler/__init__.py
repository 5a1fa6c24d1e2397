"""From images and a prior to posterior samples, in JAX.

Imports `samples`, `model`, `image` and the rooms below them, never `catalog` or `pixels`.
The floors of this room, from the top: `sample`; `warmup` and `history`; `compiled_block`; `kernel`;
`sweep`, `updates`, `replica_exchange` and `collect`; `visit`; `state`; `moves` and `scene`;
`proposals` and `geometry`; `window`; `settings`, `checkpoint`, `stopping`, `progress` and
`compiler_log`.
"""
