"""Distributions as pytrees whose leaves have the same order in every process.

numpyro collects the fields of a distribution in a set of strings, so that the order of its
leaves changes with Python's hash seed. A program compiled for other leaves rounds otherwise,
and chains of one seed part; a cache of compiled programs misses as well.
"""

from typing import Any

import jax
import numpyro.distributions as dist

__all__ = ["Ordered", "unwrapped", "wrapped"]


@jax.tree_util.register_pytree_node_class
class Ordered:
    """A distribution whose leaves are ordered by the names of its fields.

    Parameters
    ----------
    distribution : Distribution
    """

    def __init__(self, distribution: dist.Distribution) -> None:
        self.distribution = distribution

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Leaves, and what is static, each by name."""
        kind = type(self.distribution)
        leaves, static = self.distribution.tree_flatten()
        named = dict(zip(kind.gather_pytree_data_fields(), leaves, strict=True))
        fixed = dict(zip(kind.gather_pytree_aux_fields(), static, strict=True))
        names = tuple(sorted(named))
        return (
            tuple(wrapped(named[name]) for name in names),
            (kind, names, tuple(sorted(fixed.items()))),
        )

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: tuple[Any, ...]) -> "Ordered":
        """Put the distribution together again."""
        kind, names, fixed = static
        named = dict(zip(names, map(unwrapped, leaves), strict=True))
        values = dict(fixed)
        made = kind.tree_unflatten(
            tuple(values[name] for name in kind.gather_pytree_aux_fields()),
            tuple(named[name] for name in kind.gather_pytree_data_fields()),
        )
        return cls(made)


def wrapped(value: Any) -> Any:
    """Distributions of a value, in a tuple as well, as `Ordered`."""
    if isinstance(value, tuple):
        return tuple(map(wrapped, value))
    return Ordered(value) if isinstance(value, dist.Distribution) else value


def unwrapped(value: Any) -> Any:
    """Undo `wrapped`."""
    if isinstance(value, tuple):
        return tuple(map(unwrapped, value))
    return value.distribution if isinstance(value, Ordered) else value
