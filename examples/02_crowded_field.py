# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A crowded field of stars
#
# In the core of a globular cluster, several stars fall into every patch as wide as the PSF. A
# pipeline that finds peaks and fits the PSF to them lists one star where there are two or three,
# and says nothing about those that it has missed. Here the same image is cataloged by such a
# pipeline (`DAOStarFinder` and `PSFPhotometry` of photutils) and by probcat, and both are scored
# against a truth. The last part takes the luminosity function over the sampled catalogs, with an
# uncertainty that no single catalog has.
#
# If the directory that `PROBCAT_DATA` names holds the image of the globular cluster M2 (SDSS, r
# band, with the stars that HST finds there as truth), the notebook uses it. Otherwise it simulates
# a cluster.

# %%
import os
import warnings
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from photutils.detection import DAOStarFinder
from photutils.psf import ImagePSF, PSFPhotometry, SourceGrouper

import probcat
from probcat.metrics import Sources, measure_offset, score_detection

jax.config.update("jax_num_cpu_devices", 2)  # the chains advance on both cores
FIGURES = Path("figures").resolve()
M2 = Path(os.environ.get("PROBCAT_DATA", "../../shared/data")) / "m2"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
plt.rcParams.update({"font.size": 11, "figure.dpi": 80, "image.origin": "lower"})


# %%
def read_m2():
    """Read the image of M2, with a PSF from its own stars, and the stars of HST."""
    image = probcat.Image.read(M2 / "m2_r.fits", band="r", estimate_psf=True)
    stars = Table.read(M2 / "m2_truth_hst.fits")
    return image, *(np.asarray(stars[name], float) for name in ("x", "y", "flux"))


def simulate_cluster(num_stars=1200, side=64, seed=3):
    """Simulate a cluster: fluxes from a power law, more stars towards the centre."""
    rng = np.random.default_rng(seed)
    radius = 0.35 * side * np.sqrt(rng.uniform(size=num_stars) ** -1.0 - 1.0)
    angle = rng.uniform(0.0, 2.0 * np.pi, num_stars)
    x, y = side / 2 + radius * np.cos(angle), side / 2 + radius * np.sin(angle)
    flux = 100.0 * (1.0 - rng.uniform(size=num_stars)) ** (-1 / 0.9)
    inside = (np.abs(x - side / 2) < side / 2) & (np.abs(y - side / 2) < side / 2)
    x, y, flux = x[inside], y[inside], np.minimum(flux, 1e5)[inside]
    made = probcat.simulate_image(
        {"x": x, "y": y, "flux": flux},
        probcat.PSF.moffat(3.0, 3.5),
        (side, side),
        jax.random.key(seed),
        noise=6.0,
        background=180.0,
        gain=4.6,
        band="r",
        zero_point=28.2,
        unit="adu",
    )
    return made.image, x, y, flux


image, true_x, true_y, true_flux = read_m2() if M2.is_dir() else simulate_cluster()
truth = Sources(true_x, true_y, image.zero_point - 2.5 * np.log10(true_flux))
print("image:", "M2" if M2.is_dir() else "simulated cluster", image)
for note in image.notes:
    print("  ", note)


# %%
def magnitude(flux):
    """Return the AB magnitude of a flux in the unit of the image."""
    return image.zero_point - 2.5 * np.log10(np.maximum(flux, 1e-3))


low, high = np.percentile(image.data, [1, 99.7])
noise = np.median(np.sqrt(image.variance))


def draw_image(ax, stars=None, colour=None, title="", brighter_than=21.0):
    """Show the image, and mark stars."""
    ax.imshow(
        np.arcsinh((image.data - low) / (3 * noise)),
        vmax=np.arcsinh((high - low) / (3 * noise)),
        cmap="gray_r",
    )
    if stars is not None:
        bright = stars.mag < brighter_than
        size = np.clip(14.0 * (brighter_than + 0.5 - stars.mag[bright]), 8, 90)
        ax.scatter(stars.x[bright], stars.y[bright], s=size, fc="none", ec=colour, lw=1.2)
    ax.set(title=title, xlabel="x [px]", ylabel="y [px]")


middle_x, middle_y = image.shape[1] / 2, image.shape[0] / 2
figure, axes = plt.subplots(1, 2, figsize=(9.4, 4.6), layout="constrained")
draw_image(axes[0], title="image")
draw_image(axes[1], truth, BLUE, "centre, true stars brighter than 21 mag")
axes[1].set(xlim=(middle_x - 16, middle_x + 16), ylim=(middle_y - 16, middle_y + 16))
plt.show()
brighter = truth.inside(image.shape, 0.0) & (truth.mag < 22)
per_beam = brighter.sum() / np.prod(image.shape) * image.psf.fwhm**2
print(f"{per_beam:.2f} stars brighter than 22 mag in a square as wide as the PSF's FWHM")

# %% [markdown]
# The circles on the right are true stars, the larger the brighter. Many have no peak of their own.
#
# ## The traditional pipeline
#
# `DAOStarFinder` finds the peaks that stand out by five standard deviations of the noise. Its
# defaults drop peaks close to a brighter one and peaks that are not round, which loses many stars
# in a crowded field, so these limits are widened. `PSFPhotometry` then fits the PSF to all of them,
# neighbours together. The residual is searched once more, and all stars are fitted again. PSF and
# noise are the same as for probcat.

# %%
fwhm, oversampling = image.psf.fwhm, image.psf.oversampling
model = ImagePSF(image.psf.pixels, oversampling=oversampling)
sky = float(np.percentile(image.data, 5))
error = np.sqrt(image.variance)
# Peaks may be close to each other, and blends are neither round nor as sharp as a star.
find = DAOStarFinder(
    threshold=5 * noise,
    fwhm=fwhm,
    min_separation=0,
    sharpness_range=(0, 2),
    roundness_range=(-2, 2),
)
photometry = PSFPhotometry(
    model,
    fit_shape=2 * int(fwhm) + 1,
    finder=find,
    grouper=SourceGrouper(0.8 * fwhm),
    aperture_radius=fwhm,
    xy_bounds=1.0,
    group_warning_threshold=100,
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # some fits do not converge; their stars are kept
    first = photometry(image.data - sky, error=error)
    rest = photometry.make_residual_image(image.data - sky, psf_shape=25)
    again = find(rest)
    positions = Table(
        {
            "x": np.concatenate([first["x_fit"], again["x_centroid"]]),
            "y": np.concatenate([first["y_fit"], again["y_centroid"]]),
        }
    )
    positions = positions[np.isfinite(positions["x"]) & np.isfinite(positions["y"])]
    fitted = photometry(image.data - sky, error=error, init_params=positions)
good = np.isfinite(fitted["flux_fit"]) & (np.asarray(fitted["flux_fit"]) > 0)
fitted = fitted[good]
peaks = Sources(fitted["x_fit"], fitted["y_fit"], magnitude(np.asarray(fitted["flux_fit"])))
print(f"{len(first)} stars in the first pass, {len(peaks)} after the second one")

# %% [markdown]
# ## probcat
#
# The prior has stars only (`extended_fraction=0`). The PSF was built from stars of the image and is
# not perfect, so two parameters for its error and its width are sampled as well.

# %%
prior = probcat.Prior.from_image(
    image,
    extended_fraction=0.0,
    psf_error_floor_scatter=0.01,
    psf_width_change_scatter=0.02,
)
samples = probcat.sample(
    image, prior, rng_key=jax.random.key(0), num_chains=4, num_warmup=150, num_samples=150
)
catalog = probcat.condense(samples)
print(probcat.summarize(samples, catalog))

# %% [markdown]
# The verdict tells whether the faintest stars have converged, too. In a field as crowded as this
# one they are the last to do so: their number follows the slope of the luminosity function and the
# level of the sky, all of which drift together. Bright stars settle much earlier, as the column
# `rhat` of each object shows.

# %%
found = Sources(catalog["x"], catalog["y"], magnitude(catalog["flux"]), catalog["prob_exist"])
for cut in (19, 20, 21, 22):
    bright = (found.mag < cut) & (found.prob > 0.5)
    print(
        f"{bright.sum():4d} objects brighter than {cut} mag: "
        f"median R-hat {np.nanmedian(catalog['rhat'][bright]):.2f}, "
        f"90 % below {np.nanpercentile(catalog['rhat'][bright], 90):.2f}"
    )

# %% [markdown]
# ## Completeness and false discoveries
#
# A found star is right if it lies within 0.75 pixels of a true one and within 0.5 mag of it, one to
# one. Completeness is the fraction of true stars that are found. The false-discovery rate is the
# fraction of found stars that are not true. For probcat, every object counts with its probability
# to exist (Portillo et al. 2017). The frame and the zero point of the truth are matched to each
# catalog by its bright stars.

# %%
EDGES = np.arange(15.0, 23.1, 1.0)


def scores_of(stars):
    """Score a catalog against the truth, by magnitude."""
    options = {"radius": 1.0, "max_mag_difference": 0.5, "brighter_than": 19.0}
    shifted = truth.shift(*measure_offset(stars, truth, **options))
    return score_detection(
        stars,
        shifted,
        radius=0.75,
        max_mag_difference=0.5,
        edges=EDGES,
        shape=image.shape,
        border=2.5,
    )


results = {
    "photutils": (scores_of(peaks), ORANGE, "s--"),
    "probcat": (scores_of(found), BLUE, "o-"),
}
middle = (EDGES[1:] + EDGES[:-1]) / 2
figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.8), layout="constrained", sharey=True)
for name, (scores, colour, style) in results.items():
    axes[0].plot(middle, scores.completeness, style, color=colour, label=name)
    axes[1].plot(middle, scores.false_discovery_rate, style, color=colour, label=name)
axes[0].set(
    title="completeness", xlabel="true magnitude r [mag]", ylabel="fraction", ylim=(0, 1.02)
)
axes[1].set(title="false-discovery rate", xlabel="measured magnitude r [mag]")
axes[0].legend()
for ax in axes:
    ax.grid(alpha=0.3)
plt.show()
for name, (scores, _, _) in results.items():
    print(name)
    print(scores)

# %% [markdown]
# The two panels belong together: a deeper catalog costs false discoveries, and only a catalog that
# is better in one panel without being worse in the other has used the image better. The first bins
# hold few stars, as the tables say.

# %%
figure, axes = plt.subplots(
    1, 3, figsize=(12.5, 4.5), sharex=True, sharey=True, layout="constrained"
)
sure = found.prob > 0.5
objects = Sources(found.x[sure], found.y[sure], found.mag[sure])
for ax, (name, stars, colour) in zip(
    axes,
    (("truth", truth, GREEN), ("photutils", peaks, ORANGE), ("probcat", objects, BLUE)),
    strict=True,
):
    draw_image(ax, stars, colour, f"{name}, stars brighter than 21 mag")
    ax.label_outer()
axes[0].set(xlim=(middle_x - 16, middle_x + 16), ylim=(middle_y - 16, middle_y + 16))
plt.show()

# %% [markdown]
# The centre of the field with the stars of the truth, of the traditional pipeline and of probcat
# (`prob_exist` above one half).
#
# ## The luminosity function with its uncertainty
#
# A luminosity function that is counted in one catalog is that of the catalog, with its missing and
# its false stars; its error bars are usually the Poisson errors of the counts. The draws offer
# more. Every draw is a whole catalog that explains the image, so the counts of all draws in a bin
# of magnitude are samples from the posterior of the number of stars there. Their scatter contains
# what the image does not decide: whether some light is one star or two.

# %%
BINS = np.arange(16.0, 22.6, 0.5)
flat = samples.flatten()
draws = samples.num_chains * samples.num_draws
mag = magnitude(flat["flux"])
inside = Sources(flat["x"], flat["y"]).inside(image.shape, 2.5)
column = np.digitize(mag, BINS) - 1
keep = inside & (column >= 0) & (column < len(BINS) - 1)
counts = np.zeros((draws, len(BINS) - 1))
np.add.at(counts, (flat["sample"][keep], column[keep]), 1)

reference = truth.shift(
    *measure_offset(found, truth, radius=1.0, max_mag_difference=0.5, brighter_than=19.0)
)


def histogram(stars):
    """Count stars by magnitude, away from the border."""
    return np.histogram(stars.mag[stars.inside(image.shape, 2.5)], BINS)[0]


quantiles = np.quantile(counts, (0.05, 0.16, 0.5, 0.84, 0.95), axis=0)
centres = (BINS[1:] + BINS[:-1]) / 2
figure, ax = plt.subplots(figsize=(6.6, 4.6), layout="constrained")
ax.fill_between(centres, quantiles[0], quantiles[4], color=BLUE, alpha=0.2, lw=0, label="90 %")
ax.fill_between(centres, quantiles[1], quantiles[3], color=BLUE, alpha=0.4, lw=0, label="68 %")
ax.plot(centres, quantiles[2], "-", color=BLUE, label="probcat, median of the draws")
ax.plot(centres, histogram(peaks), "s--", color=ORANGE, ms=5, label="photutils, one catalog")
ax.plot(centres, histogram(reference), "k.", ms=9, label="truth")
faintest = magnitude(float(prior.flux_limits[0]))
ax.axvline(faintest, color="0.5", ls=":", label="faintest flux of the prior")
ax.set(
    yscale="log", xlabel="magnitude r [mag]", ylabel="stars per half magnitude", ylim=(0.7, None)
)
ax.legend(fontsize=9)
plt.show()
figure.savefig(FIGURES / "02_crowded_field.png", dpi=65)

# %%
print(" mag        true  photutils  probcat: median and 90 % of the draws")
rows = zip(BINS, histogram(reference), histogram(peaks), quantiles.T, strict=False)
for edge, true, single, (q05, _, q50, _, q95) in rows:
    mark = "" if q05 <= true <= q95 else "  truth outside"
    print(
        f"{edge:4.1f}-{edge + 0.5:4.1f} {true:6d} {single:8d} {q50:9.0f}  "
        f"{q05:.0f} to {q95:.0f}{mark}"
    )

# %% [markdown]
# The band is the posterior of the number of stars in each bin; the points are the truth. A bin in
# which the truth lies outside says that something is not part of the model: stars below the
# faintest flux of the prior, for example, whose light must go into other stars or into the sky; on
# real images also an error of the PSF, and the difference between two filters. Neighbouring bins
# are correlated, because one bright star in place of two faint ones changes both. The draws have
# these correlations as well.

# %%
correlation = np.corrcoef(counts[:, centres > 18].T)
shown = centres[centres > 18]
figure, ax = plt.subplots(figsize=(5.2, 4.3), layout="constrained")
extent = [shown[0] - 0.25, shown[-1] + 0.25] * 2
picture = ax.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent)
ax.set(xlabel="magnitude r [mag]", ylabel="magnitude r [mag]")
figure.colorbar(picture, label="correlation of the numbers of stars")
plt.show()
