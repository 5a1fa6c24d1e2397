import hashlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from probcat.numerics.stable_pytree import Ordered

# What is compiled for a small scene of stars and galaxies, and what it is called with.
LOWERED = """
import hashlib

import jax
import numpy as np

from probcat import Image, Prior, SamplerSettings
from probcat.sampler.compiled_block import _compiled
from probcat.sampler.sample import Run

grid = np.arange(15) - 7.0
psf = np.exp(-np.hypot(grid, grid[:, None]) ** 2 / 4.0)
image = Image.from_arrays(np.ones((24, 24)), psf=psf, variance=np.ones((24, 24)))
prior = Prior.from_image(image, extended_fraction=0.0)
run = Run(image, prior, SamplerSettings(), jax.random.key(0), (1, 2, 2))
compiled = _compiled("cpu")
text = compiled.lower(run.kernel, 2, run.begin(), run.scene).as_text()
digest = hashlib.sha256(text.encode())
for leaf in jax.tree.leaves(run.scene):
    digest.update(np.asarray(leaf).tobytes())
print(digest.hexdigest())
"""


def test_the_program_is_the_same_in_every_process() -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", LOWERED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate()[0].strip() for process in running)
    assert len(first) == hashlib.sha256().digest_size * 2
    assert first == second


def test_a_distribution_comes_back_from_its_leaves() -> None:
    given = dist.TransformedDistribution(
        dist.Normal(jnp.float32(0.5), jnp.float32(2.0)), dist.transforms.ExpTransform()
    )
    for one in (given, dist.LogNormal(jnp.float32(1.0), jnp.float32(0.3)), dist.Gamma(2.0, 3.0)):
        leaves, structure = jax.tree.flatten(Ordered(one))
        back = jax.tree.unflatten(structure, leaves)
        assert jax.tree.structure(back) == structure
        value = np.float32(1.7)
        np.testing.assert_array_equal(back.distribution.log_prob(value), one.log_prob(value))
    assert jax.tree.leaves(Ordered(dist.Normal(1.0, 2.0))) == [1.0, 2.0]
