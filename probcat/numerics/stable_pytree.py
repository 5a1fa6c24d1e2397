"""Distributions as pytrees whose leaves have the same order in every process.

numpyro collects the fields of a distribution in a set of strings, so that the order of its
leaves depends on Python's hash seed. A program that is compiled for another order rounds
differently: the same seed then gives another chain, and a cache of compiled programs is not hit.
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
    distribution : numpyro.distributions.Distribution
        The distribution to wrap. Distributions among its fields are wrapped too.
    """

    def __init__(self, distribution: dist.Distribution) -> None:
        self.distribution = distribution

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the leaves and the static fields, each sorted by name."""
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
        """Rebuild the distribution from its leaves and static fields."""
        kind, names, fixed = static
        named = dict(zip(names, map(unwrapped, leaves), strict=True))
        values = dict(fixed)
        made = kind.tree_unflatten(
            tuple(values[name] for name in kind.gather_pytree_aux_fields()),
            tuple(named[name] for name in kind.gather_pytree_data_fields()),
        )
        return cls(made)


def wrapped(value: Any) -> Any:
    """Return a value with every distribution in it, also within tuples, as `Ordered`."""
    if isinstance(value, tuple):
        return tuple(map(wrapped, value))
    return Ordered(value) if isinstance(value, dist.Distribution) else value


def unwrapped(value: Any) -> Any:
    """Return a value with every `Ordered` in it replaced by its distribution."""
    if isinstance(value, tuple):
        return tuple(map(unwrapped, value))
    return value.distribution if isinstance(value, Ordered) else value
