"""Names of the background models."""

LEVEL, PLANE, MESH = MODELS = ("level", "plane", "mesh")
