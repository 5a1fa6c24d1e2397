"""Pure mathematics: no images, no files. Imports numpy, scipy and jax only."""
