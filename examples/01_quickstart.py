# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A blend from image to catalog
#
# Two galaxies that overlap, a star on the disc of a third one, a close pair of stars: in a deep
# image, most sources share their pixels with others. This notebook simulates such a blend, samples
# the catalogs that explain it, and condenses them into one catalog with errors and probabilities.
# The truth is known, so that every number can be compared with it.

# %%
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from matplotlib.colors import to_rgb
from matplotlib.patches import Ellipse

import probcat
from probcat.metrics import Sources, match_sources

jax.config.update("jax_num_cpu_devices", 2)  # the chains advance on both cores
FIGURES = Path("figures").resolve()
OUT = Path(tempfile.mkdtemp())
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
plt.rcParams.update({"font.size": 11, "figure.dpi": 80, "image.origin": "lower"})

# %% [markdown]
# ## The image
#
# The image has three galaxies, which are Sersic profiles, and four stars. The PSF is a Moffat
# profile with a FWHM of 3 pixels. The noise is that of the sky plus the photon noise of the
# sources.

# %%
NAN = np.nan
truth = Table(
    rows=[
        (13.0, 13.0, 3000.0, True, 3.5, 0.25, 0.10, 1.0),  # a disc galaxy ...
        (16.8, 15.4, 700.0, False, NAN, NAN, NAN, NAN),  # ... with a star on its disc
        (27.5, 25.0, 2200.0, True, 2.6, -0.15, 0.20, 1.5),  # two galaxies that overlap
        (31.5, 28.5, 1200.0, True, 1.8, 0.10, -0.20, 1.0),
        (8.0, 31.0, 900.0, False, NAN, NAN, NAN, NAN),  # a close pair of stars
        (10.4, 32.2, 500.0, False, NAN, NAN, NAN, NAN),
        (31.0, 8.0, 150.0, False, NAN, NAN, NAN, NAN),  # a faint star on its own
    ],
    names=[
        *("x", "y", "flux", "is_extended"),
        *("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n"),
    ],
)
blend = probcat.simulate_image(
    {name: np.asarray(truth[name]) for name in truth.colnames},
    probcat.PSF.moffat(3.0, 3.5),
    (40, 40),
    jax.random.key(1),
    noise=1.0,
    background=5.0,
    gain=5.0,
    band="r",
    zero_point=27.0,
    unit="adu",
)
image = blend.image
print(image)


# %%
def draw_image(ax):
    """Show the image on a scale that is linear in the noise and logarithmic above it."""
    picture = ax.imshow(np.arcsinh((image.data - 5.0) / 3.0), cmap="gray_r")
    ax.set(xlabel="x [px]", ylabel="y [px]")
    return picture


def draw_sources(ax, sources, colour, galaxy, style="-"):
    """Outline galaxies by their half-light ellipses, and mark stars by circles."""
    for row in np.flatnonzero(galaxy):
        g1, g2 = (float(sources[f"ellipticity_{axis}"][row]) for axis in (1, 2))
        ratio = (1 - np.hypot(g1, g2)) / (1 + np.hypot(g1, g2))
        major = 2 * float(sources["half_light_radius"][row]) / np.sqrt(ratio)
        centre = float(sources["x"][row]), float(sources["y"][row])
        angle = np.degrees(np.arctan2(g2, g1)) / 2
        outline = {"ec": colour, "fc": "none", "lw": 1.8, "ls": style}
        ax.add_patch(Ellipse(centre, major, major * ratio, angle=angle, **outline))
    stars = ~np.asarray(galaxy)
    ax.plot(
        *(np.asarray(sources[name])[stars] for name in ("x", "y")),
        **{"marker": "o", "ms": 9, "mec": colour, "mfc": "none", "mew": 1.8, "ls": "none"},
    )


figure, ax = plt.subplots(figsize=(5, 4.6), layout="constrained")
draw_image(ax)
draw_sources(ax, truth, BLUE, truth["is_extended"])
ax.set_title("The simulated blend and its true sources")
plt.show()

# %% [markdown]
# Ellipses are the half-light ellipses of the galaxies, circles are stars. The stars of the pair in
# the upper left are closer to each other than the FWHM.
#
# ## Sampling
#
# `Prior.from_image` takes the prior from the image: the faintest flux from its noise, sizes from
# its PSF. Every part of it can be replaced by another distribution. `sample` then starts four
# chains from empty catalogs. A draw of a chain is a whole catalog: sources are born, die, split,
# merge, move, and turn from stars into galaxies. With `until_converged` the run continues until the
# chains agree, or until the time is over.

# %%
prior = probcat.Prior.from_image(image)
samples = probcat.sample(
    image,
    prior,
    rng_key=jax.random.key(0),
    num_chains=4,
    num_warmup=100,
    num_samples=100,
    until_converged=True,
    max_time="4m",
)
samples

# %% [markdown]
# ## Has it converged?
#
# Sources of different draws have no common names, so chains are compared by quantities that need
# none: the number of sources, the total flux, the light in blocks of pixels. R-hat is 1 if the
# chains agree, and ESS is the number of independent draws that would be worth as much. `diagnose`
# lists all these quantities, and `summarize` prints the verdict.

# %%
print(probcat.diagnose(samples))

# %%
# Simulated galaxies are smooth, so that no source is substructure of a galaxy.
catalog = probcat.condense(samples, substructure=False)
summary = probcat.summarize(samples, catalog)
print(summary)

# %% [markdown]
# The row `verdict` is the one to read first. If it says `NOT CONVERGED`, its reason names the
# quantity, and `docs/convergence.md` explains what to do. The row `chi2 per pixel` should be close
# to 1.

# %%
number = samples.num_sources
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.2), layout="constrained", width_ratios=[2, 1]
)
for chain, colour in enumerate((BLUE, ORANGE, GREEN, RED)):
    left.plot(number[chain], color=colour, lw=1.0, label=f"chain {chain + 1}")
left.set(xlabel="draw", ylabel="number of sources N", yticks=np.unique(number))
left.legend(ncols=4, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.15), frameon=False)
values, counts = np.unique(number, return_counts=True)
right.bar(values, counts / number.size, color=BLUE, width=0.8)
right.axvline(len(truth), color=RED, ls="--", lw=1.8, label="truth")
right.set(xlabel="number of sources N", ylabel="posterior probability", xticks=values)
right.legend(fontsize=9)
plt.show()
print(f"P(N = {len(truth)}) = {np.mean(number == len(truth)):.2f}")

# %% [markdown]
# The number of sources is a parameter like any other and has a posterior. All four chains have to
# scatter about the same numbers. Draws with more sources than there are usually contain a faint one
# in the noise, or explain a part of a galaxy by a further source.
#
# ## The catalog
#
# `condense` decides which sources of different draws are one object. `prob_exist` is the fraction
# of draws that contain the object, and `prob_star` the fraction of these in which it is a point
# source.

# %%
table = catalog.to_table(image)
found = Sources(table["x"], table["y"], prob=table["prob_exist"])
mine, true = match_sources(found, Sources(truth["x"], truth["y"]), radius=1.5)
beside = table["object_id", "prob_exist", "prob_star", "x", "y", "flux_r", "flux_r_err"][mine]
beside["true_flux"] = truth["flux"][true]
beside["true_type"] = np.where(truth["is_extended"][true], "galaxy", "star")
for name in beside.colnames[1:-1]:
    beside[name].format = ".2f" if name.startswith("prob") else ".1f"
beside.pprint(max_lines=-1, max_width=-1)
missed = len(truth) - len(true)
others = np.setdiff1d(np.arange(len(table)), mine)
print(f"\ntrue sources without an object: {missed}")
print("further objects:", [f"prob_exist {table['prob_exist'][row]:.2f}" for row in others])
pull = (beside["flux_r"] - beside["true_flux"]) / beside["flux_r_err"]
print("(flux - true flux) / error:", np.round(np.asarray(pull), 1))

# %% [markdown]
# Every object of the catalog that is a true source stands beside its truth. The last line divides
# the error that was made by the error that was stated; values far above 2 would mean that the
# stated errors are too small.

# %%
sure = np.asarray(catalog["prob_exist"]) > 0.5
columns = {name: np.asarray(values)[sure] for name, values in catalog.columns.items()}
figure, ax = plt.subplots(figsize=(5, 4.6), layout="constrained")
draw_image(ax)
draw_sources(ax, columns, ORANGE, columns["prob_star"] < 0.5)
ax.plot(truth["x"], truth["y"], "x", color=BLUE, ms=7, mew=1.8)
ax.plot([], [], "x", color=BLUE, mew=1.8, label="true source")
ax.plot([], [], "o", mfc="none", mec=ORANGE, mew=1.8, label="object")
ax.legend(loc="upper right", fontsize=9)
ax.set_title("The condensed catalog")
plt.show()

# %% [markdown]
# Objects with a `prob_exist` above one half, drawn as in the first figure, and crosses at the true
# positions.
#
# ## Which object owns which pixel
#
# In a blend, no pixel belongs to one object alone. `assign_pixels` computes for every object and
# pixel the object's share of the light, averaged over the draws. Below are the two galaxies that
# overlap.

# %%
maps = probcat.assign_pixels(samples, catalog, image)


def object_at(row):
    """Return the number of the object nearest to a true source."""
    distance = np.hypot(table["x"] - truth["x"][row], table["y"] - truth["y"][row])
    return int(table["object_id"][np.argmin(distance)])


first, second = object_at(2), object_at(3)
labels = maps.to_labels()
owner = np.select([labels == first, labels == second, labels > 0], [0, 1, 2], 3)
owner_colours = np.array([to_rgb(c) for c in (BLUE, ORANGE, "0.6", "w")])
figure, axes = plt.subplots(
    1, 4, figsize=(12.5, 3.5), sharex=True, sharey=True, layout="constrained"
)
draw_image(axes[0])
axes[0].set_title("image")
for ax, one in zip(axes[1:3], (first, second), strict=True):
    shares = ax.imshow(maps.map(one, kind="light"), cmap="viridis", vmin=0, vmax=1)
    ax.set(title=f"share of object {one}", xlabel="x [px]")
figure.colorbar(shares, ax=axes[1:3], label="share of the light", shrink=0.8)
axes[3].imshow(owner_colours[owner])
axes[3].set(title="one owner for each pixel", xlabel="x [px]", xlim=(17, 39), ylim=(14, 39))
for ax in axes[1:]:
    ax.set_ylabel("")
    ax.plot(
        *(truth[name][2:4] for name in ("x", "y")),
        "x",
        color=RED if ax is not axes[3] else "k",
        ms=8,
        mew=2,
    )
plt.show()
figure.savefig(FIGURES / "01_quickstart.png", dpi=60)

# %% [markdown]
# The shares change smoothly from one galaxy to the other (crosses are the true centres). The map on
# the right gives each pixel to the object with the largest share: blue and orange are the two
# galaxies, grey is any other object, and white pixels are in no object's footprint. Such a map has
# to cut where the shares do not; all light of a pixel then counts for its owner.

# %%
light = blend.light[2:4].astype(float)
inside = np.isin(labels, (first, second))
assigned = [np.sum(maps.map(one) * light.sum(0) * inside) for one in (first, second)]
cut = [np.sum(light.sum(0) * (labels == one)) for one in (first, second)]
for number, one in enumerate((first, second)):
    true_light = np.sum(light[number] * inside)
    print(
        f"object {one}: light from its shares {assigned[number] / true_light - 1:+.1%}, "
        f"from the pixels it owns {cut[number] / true_light - 1:+.1%} of the true light there"
    )

# %% [markdown]
# ## The shape of a galaxy
#
# `catalog.posterior` returns the draws of one object, from which any function of its properties has
# a posterior. The shape of a galaxy is uncertain in more than one direction at once: a larger
# half-light radius, for example, goes with more flux.

# %%
import corner

galaxy = catalog.posterior(samples, object_at(0))
extended = galaxy["is_extended"]
NAMES = ("flux", "half_light_radius", "sersic_n")
figure = plt.figure(figsize=(6.4, 6.4))
corner.corner(
    np.stack([galaxy[name][extended] for name in NAMES], axis=1),
    labels=["flux [adu]", "half-light radius [px]", "Sersic index"],
    truths=[float(truth[name][0]) for name in NAMES],
    truth_color=RED,
    color=BLUE,
    fig=figure,
    bins=25,
    smooth=1.0,
    max_n_ticks=4,
    plot_datapoints=False,
    fill_contours=True,
)
figure.subplots_adjust(left=0.16, bottom=0.14, top=0.97, right=0.97)
plt.show()

# %% [markdown]
# The posterior of the disc galaxy with the star on its disc. Red lines are the truth.
#
# ## Files
#
# The catalog is an astropy table with units. The samples are netCDF, which arviz and xarray read,
# and a map is an array. `probcat run` writes all of this, and a few figures, for an image on the
# command line.

# %%
table.write(OUT / "catalog.fits")
samples.to_netcdf(OUT / "samples.nc")
probcat.write_image(OUT / "image.fits", image)
for path in sorted(OUT.iterdir()):
    print(f"{path.name:14} {path.stat().st_size / 1000:7.0f} kB")
