# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Blended galaxies in two bands
#
# Two galaxies that overlap usually differ in colour, and images in two bands separate them better
# than one image can. In this notebook both bands share one catalog. It shows colours with their
# errors, the probability that a source is a star, a light that has more than one explanation, and a
# point source on the nucleus of a galaxy that keeps its flux.

# %%
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from astropy.visualization import make_lupton_rgb

import probcat

jax.config.update("jax_num_cpu_devices", 2)  # the chains advance on both cores
FIGURES = Path("figures").resolve()
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
plt.rcParams.update({"font.size": 11, "figure.dpi": 80, "image.origin": "lower"})

# %% [markdown]
# ## The images
#
# The seeing is better in r than in g. The image in r is named first, because positions are counted
# in its pixels and the sampler proposes sources there.

# %%
NAN = np.nan
truth = Table(
    rows=[
        ("red galaxy", 11.0, 11.0, 2600.0, 900.0, True, 2.4, 0.15, 0.20, 2.0),
        ("blue galaxy", 14.8, 13.2, 1100.0, 1000.0, True, 2.2, -0.20, 0.10, 1.0),
        ("host galaxy", 26.0, 25.0, 2400.0, 1500.0, True, 3.2, 0.20, -0.15, 1.0),
        ("nucleus", 26.0, 25.0, 900.0, 900.0, False, NAN, NAN, NAN, NAN),
        ("star", 27.0, 9.0, 700.0, 400.0, False, NAN, NAN, NAN, NAN),
        ("pair", 8.0, 27.0, 330.0, 250.0, False, NAN, NAN, NAN, NAN),
        ("pair", 9.2, 28.0, 230.0, 160.0, False, NAN, NAN, NAN, NAN),
    ],
    names=[
        *("name", "x", "y", "flux_r", "flux_g", "is_extended"),
        *("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n"),
    ],
)
ZERO_POINT = 27.0
images = []
for seed, (band, fwhm) in enumerate((("r", 2.8), ("g", 3.4))):
    sources = {name: np.asarray(truth[name]) for name in truth.colnames if name != "name"}
    sources["flux"] = sources.pop(f"flux_{band}")
    made = probcat.simulate_image(
        {name: values for name, values in sources.items() if not name.startswith("flux_")},
        probcat.PSF.moffat(fwhm, 3.5),
        (36, 36),
        jax.random.key(seed + 10),
        noise=1.0,
        background=5.0,
        gain=5.0,
        band=band,
        zero_point=ZERO_POINT,
        unit="adu",
    )
    images.append(made.image)
print(*images, sep="\n")

# %%
planes = {image.band: image.data - 5.0 for image in images}
figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for ax, band in zip(axes, ("g", "r"), strict=False):
    ax.imshow(np.arcsinh(planes[band] / 3), cmap="gray_r", vmin=-0.5, vmax=4.2)
    ax.set(title=f"{band} band", xlabel="x [px]")
colours = make_lupton_rgb(
    planes["r"], (planes["r"] + planes["g"]) / 2, 1.6 * planes["g"], stretch=40, Q=8
)
axes[2].imshow(colours)
axes[2].set(title="g and r together", xlabel="x [px]")
axes[0].set_ylabel("y [px]")
plt.show()

# %% [markdown]
# Lower left: a red and a blue galaxy that overlap. Upper right: a spiral galaxy with a blue point
# source on its centre, such as an active nucleus. Lower right: a star. Upper left: two stars that
# are much closer than the FWHM.
#
# ## One catalog for both bands

# %%
prior = probcat.Prior.from_image(images)
samples = probcat.sample(
    images,
    prior,
    rng_key=jax.random.key(2),
    num_warmup=150,
    num_samples=100,
    until_converged=True,
    max_time="5m",
)
catalog = probcat.condense(samples, substructure=False)
print(probcat.summarize(samples, catalog))

# %%
table = catalog.to_table(images)
shown = ["object_id", "x", "y", "mag_r", "mag_g", "prob_exist", "prob_star", "alternative_group"]
for name in shown[1:-1]:
    table[name].format = ".2f"
table[shown].pprint(max_lines=-1, max_width=-1)


# %%
def draws_at(row, extended=None):
    """Return the draws of the most probable object at a true source, of one type if it is given."""
    near = np.hypot(table["x"] - truth["x"][row], table["y"] - truth["y"][row]) < 1.0
    right_type = np.ones(len(table), bool)
    if extended is not None:
        right_type = (np.asarray(table["prob_star"]) < 0.5) == extended
    rank = np.where(near & right_type, np.asarray(table["prob_exist"]), -1.0)
    number = int(table["object_id"][np.argmax(rank)])
    return number, catalog.posterior(samples, number)


# %% [markdown]
# ## Colours and star or galaxy
#
# A colour is a function of two fluxes of one draw, so that the draws give its posterior with all
# correlations: in a blend, the errors of the fluxes in the two bands are not independent.

# %%
print("source        object  prob_exist  prob_star  g - r [mag]      true")
for row in (0, 1, 2, 3, 4):
    number, draws = draws_at(row, extended=bool(truth["is_extended"][row]))
    colour = -2.5 * np.log10(draws["flux_g"] / draws["flux"])
    true_colour = -2.5 * np.log10(truth["flux_g"][row] / truth["flux_r"][row])
    print(
        f"{truth['name'][row]:12} {number:6d} {table['prob_exist'][number - 1]:10.2f} "
        f"{table['prob_star'][number - 1]:10.2f} {colour.mean():8.2f} +- {colour.std():.2f} "
        f"{true_colour:9.2f}"
    )

# %%
(red, red_draws), (blue, blue_draws) = draws_at(0, extended=True), draws_at(1, extended=True)
figure, ax = plt.subplots(figsize=(6, 4.4), layout="constrained")
for draws, colour, row, label in (
    (red_draws, RED, 0, "red galaxy"),
    (blue_draws, BLUE, 1, "blue galaxy"),
):
    mag = ZERO_POINT - 2.5 * np.log10(draws["flux"])
    index = -2.5 * np.log10(draws["flux_g"] / draws["flux"])
    ax.plot(mag, index, ".", color=colour, ms=4, alpha=0.4)
    true_mag = ZERO_POINT - 2.5 * np.log10(truth["flux_r"][row])
    true_index = -2.5 * np.log10(truth["flux_g"][row] / truth["flux_r"][row])
    ax.plot(true_mag, true_index, "*", color=colour, mec="k", ms=15, label=f"{label}, truth")
ax.set(xlabel="r [mag]", ylabel="g - r [mag]")
ax.invert_xaxis()
ax.legend(fontsize=9)
plt.show()

# %% [markdown]
# Every point is one draw, and the stars are the truth. The two galaxies overlap on the sky but not
# in this diagram: the colours keep their light apart.
#
# ## Shares of the light in each band

# %%
maps = probcat.assign_pixels(samples, catalog, images)
figure, axes = plt.subplots(2, 3, figsize=(10.5, 7), sharex=True, sharey=True, layout="constrained")
for line, image, own in zip(axes, images, maps, strict=True):
    line[0].imshow(np.arcsinh((image.data - 5) / 3), cmap="gray_r", vmin=-0.5, vmax=4.2)
    line[0].set(title=f"{image.band} band", ylabel="y [px]")
    for ax, number, name in zip(line[1:], (red, blue), ("red", "blue"), strict=True):
        picture = ax.imshow(own.map(number), vmin=0, vmax=1, cmap="viridis")
        ax.set_title(f"share of the {name} galaxy in {image.band}")
for ax in axes[1]:
    ax.set_xlabel("x [px]")
axes[0, 0].set(xlim=(1, 25), ylim=(1, 24))
figure.colorbar(picture, ax=axes, label="share of the light", shrink=0.6)
plt.show()
figure.savefig(FIGURES / "03_galaxy_blends.png", dpi=45)

# %% [markdown]
# Each band has its own maps: in g the blue galaxy owns more of the light between the two.
#
# ## A point source on a nucleus
#
# A bright point source on the centre of a galaxy and a steep profile of the galaxy look alike. The
# draws show how well the image tells them apart, and what the uncertainty does to their fluxes:
# what one of them gains, the other one loses.

# %%
(host, host_draws), (core, core_draws) = draws_at(2, extended=True), draws_at(3, extended=False)
order = {
    (chain, draw): row
    for row, (chain, draw) in enumerate(zip(core_draws["chain"], core_draws["draw"], strict=True))
}
pairs = [
    (row, order[key])
    for row, key in enumerate(zip(host_draws["chain"], host_draws["draw"], strict=True))
    if key in order
]
hosts, cores = (np.array(rows, int) for rows in zip(*pairs, strict=True)) if pairs else ([], [])
print(f"draws with a galaxy and a point source: {len(pairs)} of {catalog.members[..., 0].size}")

# %%
import corner

if len(pairs) > 20:
    figure = plt.figure(figsize=(6.4, 6.4))
    corner.corner(
        np.stack(
            [
                host_draws["flux"][hosts],
                core_draws["flux"][cores],
                host_draws["sersic_n"][hosts],
            ],
            axis=1,
        ),
        labels=["galaxy, flux in r [adu]", "nucleus, flux in r [adu]", "Sersic index"],
        truths=[truth["flux_r"][2], truth["flux_r"][3], truth["sersic_n"][2]],
        truth_color=RED,
        color=BLUE,
        fig=figure,
        bins=20,
        smooth=1.0,
        max_n_ticks=4,
        plot_datapoints=False,
        fill_contours=True,
    )
    figure.subplots_adjust(left=0.17, bottom=0.15, top=0.97, right=0.97)
    plt.show()

# %% [markdown]
# Fluxes of the galaxy and of its nucleus in the draws that contain both; red lines are the truth.
#
# ## Alternatives
#
# The two stars of the pair are closer than half of the FWHM. Some draws explain their light by two
# stars and others by one source. Objects that replace one another share an `alternative_group`, and
# `alternatives` lists the configurations of the group with their probabilities. `probcat run`
# writes the same list to `alternatives.fits`.

# %%
number, _ = draws_at(5)
for configuration in catalog.alternatives(number):
    parts = []
    for one in configuration.object_ids:
        row = catalog.row(one)
        kind = "star" if catalog["prob_star"][row] > 0.5 else "galaxy"
        place = f"({catalog['x'][row]:.1f}, {catalog['y'][row]:.1f})"
        parts.append(f"{kind} {one} at {place}, r = {table['mag_r'][row]:.2f}")
    print(f"probability {configuration.probability:.2f}: {'; '.join(parts) or 'none of them'}")

# %%
flat = samples.flatten()
middle = truth["x"][5:7].mean(), truth["y"][5:7].mean()
near = np.hypot(flat["x"] - middle[0], flat["y"] - middle[1]) < 4.0
draws = samples.num_chains * samples.num_draws
count = np.bincount(flat["sample"][near], minlength=draws)
total = np.bincount(flat["sample"][near], flat["flux"][near], minlength=draws)
values, frequency = np.unique(count, return_counts=True)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.bar(values, frequency / draws, color=BLUE)
left.set(xlabel="number of sources at the pair", ylabel="posterior probability", xticks=values)
right.hist(total, bins=25, color=BLUE, density=True)
right.axvline(truth["flux_r"][5:7].sum(), color=RED, ls="--", lw=1.8, label="truth")
right.set(xlabel="flux of these sources together, r [adu]", ylabel="posterior density", yticks=[])
right.legend()
plt.show()

# %% [markdown]
# The number of sources at the pair may be uncertain while their light is not: the flux of all of
# them together is known much better than how many they are. A single catalog must choose one of the
# explanations; the draws keep all of them, with their probabilities.
