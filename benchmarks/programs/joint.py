"""HSC (five bands, 0.168" px) and HST (F814W, 0.03" px) of one sky, together and apart.

Neither comes with a variance: it is estimated from the pixels.  Resampling has correlated the
noise of neighbours, in the HST image with a coefficient near one half, which the model does not
know.  So the noise is measured on the scale of the PSF: the scatter of the sky in blocks one FWHM
wide is given to their pixels as if they were independent, which makes errors of fluxes about
right and chi2 per pixel fall below one.  ``--noise pixels`` takes probcat's own estimate.

The prior of sizes is the same on the sky for each set: by default HST alone would have those of
its own PSF, too small for what it resolves.

The top blend is the connected region of HSC i-band pixels, around the brightest object inside the
image that has one, in which that object's own light exceeds three sigma of the noise with even
odds or better, as the run on HSC alone has it.  Objects of more than even odds to exist count where
their centres lie in it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.support.results import data_path, device_name, parse_settings, peak_memory, report
from benchmarks.support.run_images import Fit, describe, fit, residuals
from probcat.sampler.compiled_block import use_all_cores

HSC_PLANES = "grizy"
ORDER = "igrzy"
"""The deepest comes first: positions and windows are in its pixels."""
HST_BAND = "F814W"
SIZES = ("median", "min", "max")
SKY = 0.24
"""Share of the rows, from the first one up, in which no image shows a source."""


@click.command()
@click.option("--seconds", default=1800.0, show_default=True, help="CPU-seconds for each set.")
@click.option(
    "--set",
    "sets",
    type=click.Choice(["hsc", "hst", "joint"]),
    multiple=True,
    default=["hsc", "hst", "joint"],
    show_default=True,
    help="Images to sample; may be repeated.",
)
@click.option("--stars-only", is_flag=True, help="No galaxies in the model.")
@click.option(
    "--hst-psf-radius",
    default=20,
    show_default=True,
    help="Half side in pixels that the HST PSF is cut to; 89 keeps it whole.",
)
@click.option(
    "--hst-bin",
    default=2,
    show_default=True,
    help="HST pixels along the side of one that is fitted.",
)
@click.option(
    "--hsc-psf-radius", default=12, show_default=True, help="Half side that HSC PSFs are cut to."
)
@click.option(
    "--noise",
    type=click.Choice(["blocks", "pixels"]),
    default="blocks",
    show_default=True,
    help="What it is estimated from.",
)
@click.option("--num-chains", default=4, show_default=True)
@click.option("--num-warmup", default=60, show_default=True, help="Draws of warm-up.")
@click.option("--seed", default=0, show_default=True)
@click.option("--setting", multiple=True, help="NAME=VALUE of [sampler]; may be repeated.")
@click.option("--prior", multiple=True, help="NAME=VALUE of [prior]; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Draw residuals of all images there.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
def main(
    seconds: float,
    sets: tuple[str, ...],
    stars_only: bool,
    hst_psf_radius: int,
    hst_bin: int,
    hsc_psf_radius: int,
    noise: str,
    num_chains: int,
    num_warmup: int,
    seed: int,
    setting: tuple[str, ...],
    prior: tuple[str, ...],
    out: Path | None,
    file: Path | None,
) -> None:
    """Sample HSC alone, HST alone and both, and count objects in the top blend."""
    use_all_cores()
    hsc, hst = read_hsc(hsc_psf_radius), read_hst(hst_psf_radius, hst_bin)
    if noise == "blocks":
        hsc, hst = [with_block_noise(image) for image in hsc], with_block_noise(hst)
    images = {"hsc": hsc, "hst": [hst], "joint": [*hsc, hst]}
    results: dict[str, Any] = {
        "device": device_name(),
        "settings": {"seconds": seconds, "stars_only": stars_only, "seed": seed}
        | {"num_chains": num_chains, "num_warmup": num_warmup, "hst_psf_radius": hst_psf_radius}
        | {"hst_bin": hst_bin, "hsc_psf_radius": hsc_psf_radius, "noise": noise}
        | {"setting": list(setting), "prior": list(prior)},
    }
    options: dict[str, Any] = {"extended_fraction": 0.0} if stars_only else {}
    blend = None
    # The blend is defined by the run on HSC alone.
    for name in sorted(set(sets), key=list(images).index):
        sizes = size_prior(hsc[0], hst) if name == "hst" else {}
        found = fit(
            images[name],
            seconds,
            prior=options | sizes | parse_settings(prior),
            settings={"checkpoint_interval": 2} | parse_settings(setting),
            num_chains=num_chains,
            num_warmup=num_warmup,
            seed=seed,
        )
        catalog = _condense(found)
        if name == "hsc":
            blend = top_blend(found, catalog)
        results[name] = describe(found) | _objects(catalog, images[name], hsc, blend)
        results[name]["chi2_per_pixel"] = residuals(found, out, f"{name}_")
        click.echo(f"\n{name}")
        report(results[name], None)
    results["peak_rss_mib"] = peak_memory()
    if blend is not None:
        results["blend_pixels"] = int(blend.sum())
    if file is not None:
        report(results, file)


def read_hsc(psf_radius: int) -> list[Any]:
    """Images of HSC, the deepest band first, their PSFs cut to a half side in pixels."""
    from probcat.image.image import Image

    path, psf = data_path("hsc_hst/Cut_HSC.fits"), data_path("hsc_hst/PSF_HSC.fits")
    options = {"psf": psf, "psf_radius": psf_radius}
    return [Image.read(path, band, plane=HSC_PLANES.index(band), **options) for band in ORDER]


def read_hst(psf_radius: int, side: int) -> Any:
    """Image of HST in pixels of `side` times `side` of its own, its PSF cut to a half side."""
    from scipy.ndimage import uniform_filter

    from probcat import PSF, Image
    from probcat.psf.readers.fits import read_psf

    samples, _ = read_psf(data_path("hsc_hst/PSF_HST.fits"))
    whole = Image.read(data_path("hsc_hst/Cut_HST.fits"), HST_BAND, psf=PSF.from_pixels(samples))
    middle = samples.shape[0] // 2
    kept = slice(max(middle - psf_radius, 0), middle + psf_radius + 1)
    if side == 1:
        return replace(whole, psf=PSF.from_pixels(samples[kept, kept]))
    ny, nx = (length // side for length in whole.shape)
    sums = whole.clean_data[: ny * side, : nx * side].astype(np.float64)
    sums = sums.reshape(ny, side, nx, side).sum(axis=(1, 3))
    # A sample of the wider pixel's PSF adds up those of the pixels in it.
    wide = uniform_filter(samples.astype(np.float64), side, mode="constant")[kept, kept]
    return Image.from_arrays(
        sums,
        psf=PSF.from_pixels(wide, oversampling=side),
        wcs=whole.wcs.slice((slice(None, None, side),) * 2),
        band=whole.band,
        zero_point=whole.zero_point,
        unit=whole.unit,
        name=whole.name,
    )


def with_block_noise(image: Any) -> Any:
    """Copy of an image with one variance: of block sums one FWHM wide, over their area."""
    side = max(2, round(float(image.psf.fwhm)))
    rows, columns = int(SKY * image.shape[0]) // side, image.shape[1] // side
    cut = image.clean_data[: rows * side, : columns * side].astype(np.float64)
    sums = cut.reshape(rows, side, columns, side).sum(axis=(1, 3)) / side
    sigma = float(sums.std())
    own = float(np.sqrt(np.median(image.variance)))
    click.echo(f"{image.band}: noise {sigma:.4g} in blocks of {side} px, {own:.4g} from pixels")
    return replace(image, variance=np.full(image.shape, sigma**2))


def size_prior(first: Any, image: Any) -> dict[str, float]:
    """Parameters of the default prior of half-light radii, in pixels of another image."""
    from probcat import Prior
    from probcat.image.alignment import align_images

    scale = align_images([first, image])[1].scale
    given = Prior.from_image(first).to_config()
    return {f"half_light_radius_{end}": scale * given[f"half_light_radius_{end}"] for end in SIZES}


def _condense(found: Fit) -> Any:
    from probcat import condense

    step = max(1, found.samples.num_draws // 100)
    return condense(found.samples.select_draws(slice(None, None, step)))


def top_blend(found: Fit, catalog: Any) -> np.ndarray | None:
    """Pixels of the first HSC image that the brightest object covers, bool (ny, nx)."""
    from scipy.ndimage import label

    from probcat import assign_pixels
    from probcat.samples.per_image import samples_per_image

    sure = np.flatnonzero(catalog["prob_exist"] > 0.5)
    if not sure.size:
        return None
    step = max(1, found.samples.num_draws // 100)
    view = samples_per_image(found.samples.select_draws(slice(None, None, step)), found.images)[0]
    maps = assign_pixels(view, catalog, found.images[0], max_draws=100)
    for row in sure[np.argsort(-catalog["flux"][sure])]:
        # Light of a large galaxy may be nowhere above three sigma.
        regions, _ = label(maps.map(int(catalog["object_id"][row]), "footprint") > 0.5)
        y, x = (round(float(catalog[name][row])) for name in ("y", "x"))
        inside = 0 <= y < regions.shape[0] and 0 <= x < regions.shape[1]
        if inside and regions[y, x]:
            return regions == regions[y, x]
    return None


def _objects(
    catalog: Any, images: list[Any], hsc: list[Any], blend: np.ndarray | None
) -> dict[str, Any]:
    """Objects of more than even odds, in the whole image and in the top blend."""
    from probcat.image.alignment import align_images

    sure = catalog["prob_exist"] > 0.5
    results: dict[str, Any] = {"objects": int(sure.sum())}
    if blend is None:
        return results
    x, y = catalog["x"][sure], catalog["y"][sure]
    if images[0] is not hsc[0]:
        to_own = align_images([hsc[0], images[0]])[1].affine
        x, y = np.linalg.solve(to_own[:, :2], np.stack([x, y]) - to_own[:, 2:])
    column, row = np.round(x).astype(int), np.round(y).astype(int)
    ny, nx = blend.shape
    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    results["objects_in_top_blend"] = int(blend[row[inside], column[inside]].sum())
    return results


if __name__ == "__main__":
    main()
