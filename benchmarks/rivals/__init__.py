"""Other programs that are scored on the same images as probcat."""
