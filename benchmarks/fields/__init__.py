"""Fields that the programs sample: simulated scenes and blends, and the stars of M2."""
