"""Names of the background models."""

LEVEL = "level"
"""Name of the model of one level per image."""
PLANE = "plane"
"""Name of the model of a level with a slope along x and along y."""
MESH = "mesh"
"""Name of the model of levels at the nodes of a mesh."""
MODELS = (LEVEL, PLANE, MESH)
"""Names of all background models."""
