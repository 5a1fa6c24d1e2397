# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bring your own image
#
# Often there is only a FITS file: pixels, a WCS, perhaps a zero point, no variance and no PSF. This
# notebook takes such a file to a catalog and a report on the command line. It also shows a run that
# was too short, how to see that, and what to do.
#
# The file is made here from a simulation, so that the notebook needs no download. To use your own
# image, change the name in the commands.

# %%
import os
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from IPython.display import Image as Picture

import probcat

FIGURES = Path("figures").resolve()
os.chdir(tempfile.mkdtemp())  # all files of this notebook
# Programs that JAX has compiled are kept for the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path("jax_cache").resolve()))
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
plt.rcParams.update({"font.size": 11, "figure.dpi": 80, "image.origin": "lower"})

# %% [markdown]
# ## A plain FITS file

# %%
rng = np.random.default_rng(4)
SIDE, NUM_STARS, NUM_GALAXIES = 72, 22, 6
grid = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2)
cell = rng.permutation(grid)[: NUM_STARS + NUM_GALAXIES] + 0.5
position = cell * [SIDE / 6, SIDE / 5] + rng.normal(0.0, 2.0, cell.shape)
# The last stars are faint companions, each beside another source.
position[NUM_STARS - 4 : NUM_STARS] = position[[0, 1, -1, -2]] + [2.5, 1.5]
extended = np.arange(len(cell)) >= NUM_STARS
flux = np.where(
    extended,
    rng.uniform(1500.0, 6000.0, len(cell)),
    np.geomspace(9000.0, 250.0, len(cell)),
)
modulus, angle = rng.uniform(0.0, 0.4, len(cell)), rng.uniform(0.0, 2.0 * np.pi, len(cell))
true_psf = probcat.PSF.moffat(3.2, 3.0)
made = probcat.simulate_image(
    {
        "x": position[:, 0],
        "y": position[:, 1],
        "flux": flux,
        "is_extended": extended,
        "half_light_radius": rng.uniform(1.8, 3.5, len(cell)),
        "ellipticity_1": modulus * np.cos(angle),
        "ellipticity_2": modulus * np.sin(angle),
        "sersic_n": rng.uniform(0.8, 2.0, len(cell)),
    },
    true_psf,
    (SIDE, SIDE),
    jax.random.key(4),
    noise=3.0,
    background=36.0,
    gain=4.0,
)
wcs = WCS(naxis=2)
wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
wcs.wcs.crval, wcs.wcs.crpix = (150.1, 2.2), (SIDE / 2, SIDE / 2)
wcs.wcs.cdelt = -0.2 / 3600, 0.2 / 3600
header = wcs.to_header()
header.update({"BUNIT": "adu", "FILTER": "r", "MAGZERO": 27.0})
fits.PrimaryHDU(made.image.data, header).writeto("field.fits")
fits.info("field.fits")

# %%
pixels = fits.getdata("field.fits")
figure, ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
picture = ax.imshow(pixels, cmap="gray_r", norm="log", vmin=28, vmax=400)
ax.set(xlabel="x [px]", ylabel="y [px]", title="field.fits")
figure.colorbar(picture, label="pixel value [adu]", ticks=[30, 50, 100, 200, 400], format="%.0f")
plt.show()

# %% [markdown]
# ## What probcat makes of it
#
# `--estimate-psf` builds the PSF from bright, isolated stars of the image, and `--gain` gives the
# electrons per unit, from which the variance follows. A run first prints what it found and what it
# assumed: read these notes before anything else. The first run is short on purpose.

# %%
# !probcat run field.fits --out short --estimate-psf --gain 4 \
#     --num-warmup 20 --num-samples 20 --quiet

# %% [markdown]
# The notes name the stars of the PSF and the source of the variance; the lines after them are the
# prior. If a saturated star or a galaxy is among the stars of the PSF, name better ones with
# `--psf-stars`.
#
# The PSF itself can be inspected in Python, where `estimate_psf` is an option of `Image.read`. In
# this simulation it can be compared with the true one.

# %%
image = probcat.Image.read("field.fits", estimate_psf=True, gain=4)
print(image)
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
offset = np.linspace(-9, 9, 181)
zero = np.zeros(1)
for psf, style, label in ((true_psf, "k-", "true PSF"), (image.psf, "--", "from stars")):
    middle = SIDE / 2
    profile = psf.at(middle, middle).evaluate_grid(offset, zero)[0]
    colour = {} if style == "k-" else {"color": ORANGE}
    ax.plot(offset, profile, style, lw=2, label=label, **colour)
ax.set(xlabel="distance from the centre along x [px]", ylabel="flux per pixel of a unit source")
ax.set(yscale="log", ylim=(1e-5, 0.2))
ax.legend()
plt.show()

# %% [markdown]
# ## A run that has not converged
#
# `probcat info` prints the closing table of a run, its reasons against convergence, and all
# settings.

# %%
# !probcat info short | sed -n 1,40p

# %% [markdown]
# The verdict says `NOT CONVERGED`, and the list below the table names the quantities in which the
# chains differ. All objects of this catalog have the flag `NOT_CONVERGED`, and `CONVERGD` in the
# headers is false, so that no program takes the catalog for a good one.
#
# The remedy is more draws. `--until-converged` samples until nothing speaks against convergence, or
# until `--max-time` is over. The configuration of the first run has all other settings.

# %%
# !probcat run --config short/config.toml --out long --quiet \
#     --num-warmup 100 --num-samples 100 --until-converged --max-time 5m | tail -n 12

# %%
for run in ("short", "long"):
    head = fits.getheader(f"{run}/catalog.fits", "CATALOG")
    print(
        f"{run:6} CONVERGD = {head['CONVERGD']}, largest R-hat {head['RHAT']:.2f}, "
        f"{head['NOBJ']:.0f} objects, N between {head['NSRC_LO']:.0f} and {head['NSRC_HI']:.0f}"
    )
print(f"true number of sources: {len(flux)}")

# %%
short, long = (probcat.Samples.from_netcdf(f"{run}/samples.nc") for run in ("short", "long"))
figure, axes = plt.subplots(
    1, 2, figsize=(9.4, 3.4), sharey=True, layout="constrained", width_ratios=[1, 2.5]
)
for ax, samples, title in zip(axes, (short, long), ("short run", "longer run"), strict=True):
    for chain, colour in enumerate((BLUE, ORANGE, GREEN, RED)):
        trace = samples.scalars["log_likelihood"][chain]
        ax.plot(trace, color=colour, lw=1, label=f"chain {chain + 1}")
    ax.set(xlabel="draw", title=title)
axes[0].set_ylabel("log likelihood")
axes[1].legend(fontsize=9, ncols=2, loc="lower right")
plt.show()

# %% [markdown]
# Traces of ln L. In a run that can be trusted, all chains scatter about the same value and none of
# them rises any more.
#
# ## The catalog

# %%
table = Table.read("long/catalog.fits")
columns = ["object_id", "ra", "dec", "mag_r", "mag_r_err", "prob_exist", "prob_star", "flags"]
table[columns].pprint(max_lines=14, max_width=-1)

# %%
sure = table["prob_exist"] > 0.5
star = table["prob_star"] > 0.5
figure, ax = plt.subplots(figsize=(5.8, 5), layout="constrained")
ax.imshow(pixels, cmap="gray_r", norm="log", vmin=28, vmax=400)
for kind, colour, marker, label in ((star, BLUE, "o", "star"), (~star, RED, "s", "galaxy")):
    chosen = table[sure & kind]
    ax.plot(chosen["x"], chosen["y"], marker, ms=11, mfc="none", mec=colour, mew=1.6, label=label)
ax.plot(*position.T, "+", color=ORANGE, ms=6, label="truth")
ax.set(xlabel="x [px]", ylabel="y [px]")
figure.legend(loc="outside upper center", ncols=3, fontsize=10)
plt.show()
figure.savefig(FIGURES / "07_bring_your_own_image.png", dpi=65)

# %% [markdown]
# Objects of the longer run with a `prob_exist` above one half. `residual.png` in the directory of
# the run is the next thing to look at: the residual, in standard deviations of the noise, should
# look like noise. Rings or dipoles at bright stars would mean that the PSF is wrong.

# %%
Picture("long/residual.png", width=760)

# %% [markdown]
# ## To other programs
#
# `probcat export` writes the catalog for other programs. For DS9 it writes regions, in celestial
# coordinates if the image has a WCS.

# %%
# !probcat export long --format ds9 --min-prob 0.5
# !sed -n 1,8p long/catalog.reg
# !probcat report long
