"""HSC (five bands, 0.168" px) and HST (F814W, 0.03" px) of the same sky, together and apart.

The files have no variance, so the noise is estimated from the pixels. Resampling has correlated
the noise of neighbouring pixels, in the HST image with a coefficient near one half, and the model
does not know of correlated noise. The noise is therefore measured on the scale of the PSF: pixels
get the scatter of the sky in blocks one FWHM wide, as if they were independent. Errors of fluxes
are then about right, and chi-square per pixel falls below one. ``--noise pixels`` takes probcat's
own estimate instead.

All sets of images have the same prior of sizes on the sky. By default, HST alone would get sizes
of the order of its own PSF, which are too small for the galaxies that it resolves.

The top blend is defined by the run on HSC alone. It is a connected region of pixels of HSC's i
band in which the footprint of one object has a probability of one half or more, and it belongs to
the brightest object inside the image that has such a region. Objects with a probability of
existence above one half are counted in it if their centres lie in it.
"""

from dataclasses import replace
from typing import Any

import click
import numpy as np

from benchmarks.support.data import data_path
from benchmarks.support.options import Options, shared_options
from benchmarks.support.results import echo
from benchmarks.support.run_images import (
    ImageRun,
    residual_chi2,
    run_images,
    summarize_run,
)
from benchmarks.support.timing import peak_memory
from probcat.sampler.compiled_block import use_all_cores

HSC_PLANES = "grizy"
"""Bands of HSC in the order of the planes of the file."""
ORDER = "igrzy"
"""Bands of HSC in the order of the run, the deepest first."""
HST_BAND = "F814W"
"""Band of the HST image."""
SKY_FRACTION = 0.24
"""Fraction of the rows, counted from the first one, in which no image shows a source."""


@click.command()
@shared_options(
    "seed",
    "stars_only",
    "sampler",
    "prior",
    "residuals",
    "raw_file",
    seconds=1800.0,
    num_chains=4,
    num_warmup=60,
)
@click.option(
    "--set",
    "sets",
    type=click.Choice(["hsc", "hst", "joint"]),
    multiple=True,
    default=["hsc", "hst", "joint"],
    show_default=True,
    help="Set of images to sample; may be repeated.",
)
@click.option(
    "--hst-psf-radius",
    default=20,
    show_default=True,
    help="Half-width in pixels to which the PSF of HST is cut; 89 keeps all of it.",
)
@click.option(
    "--hst-bin", default=2, show_default=True, help="Side of a binned pixel in pixels of HST."
)
@click.option(
    "--hsc-psf-radius",
    default=12,
    show_default=True,
    help="Half-width in pixels to which the PSFs of HSC are cut.",
)
@click.option(
    "--noise",
    type=click.Choice(["blocks", "pixels"]),
    default="blocks",
    show_default=True,
    help="Estimate the noise from blocks one FWHM wide, or from single pixels.",
)
def main(
    options: Options,
    sets: tuple[str, ...],
    hst_psf_radius: int,
    hst_bin: int,
    hsc_psf_radius: int,
    noise: str,
) -> None:
    """Sample HSC alone, HST alone and both; count objects in the top blend."""
    use_all_cores()
    hsc, hst = read_hsc(hsc_psf_radius), read_hst(hst_psf_radius, hst_bin)
    if noise == "blocks":
        hsc, hst = [with_block_noise(image) for image in hsc], with_block_noise(hst)
    images = {"hsc": hsc, "hst": [hst], "joint": [*hsc, hst]}
    results: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    blend = None
    # HSC alone comes first, because its run defines the blend.
    for name in sorted(set(sets), key=list(images).index):
        sizes = size_prior(hsc[0], hst) if name == "hst" else {}
        run = run_images(images[name], options, sizes, {"checkpoint_interval": 2})
        raw[name] = run.samples.scalars
        catalog = _condense(run)
        if name == "hsc":
            blend = top_blend(run, catalog)
        results[name] = summarize_run(run) | _count_objects(catalog, images[name], hsc, blend)
        results[name]["chi2_per_pixel"] = residual_chi2(run, options.residuals, f"{name}_")
        click.echo(f"\n{name}")
        echo(results[name])
    results["peak_rss_mib"] = peak_memory()
    if blend is not None:
        results["blend_pixels"] = int(blend.sum())
    own = {"hst_psf_radius": hst_psf_radius, "hst_bin": hst_bin, "noise": noise}
    own |= {"sets": sets, "hsc_psf_radius": hsc_psf_radius}
    options.finish(results, options.settings(**own), raw)


def read_hsc(psf_radius: int) -> list[Any]:
    """Read the images of HSC, the deepest band first.

    Parameters
    ----------
    psf_radius : int
        Half-width in pixels to which the PSFs are cut.

    Returns
    -------
    list of Image
    """
    from probcat.image.image import Image

    path, psf = data_path("hsc_hst/Cut_HSC.fits"), data_path("hsc_hst/PSF_HSC.fits")
    options = {"psf": psf, "psf_radius": psf_radius}
    return [Image.read(path, band, plane=HSC_PLANES.index(band), **options) for band in ORDER]


def read_hst(psf_radius: int, side: int) -> Any:
    """Read the image of HST, binned.

    Parameters
    ----------
    psf_radius : int
        Half-width in pixels of HST to which the PSF is cut.
    side : int
        Side of a binned pixel in pixels of HST.

    Returns
    -------
    Image
    """
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
    # A sample of the PSF of a binned pixel is the sum over the pixels in it.
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
    """Return a copy of an image whose variance is that of block sums, divided by their area."""
    side = max(2, round(float(image.psf.fwhm)))
    rows, columns = int(SKY_FRACTION * image.shape[0]) // side, image.shape[1] // side
    cut = image.clean_data[: rows * side, : columns * side].astype(np.float64)
    sums = cut.reshape(rows, side, columns, side).sum(axis=(1, 3)) / side
    sigma = float(sums.std())
    own = float(np.sqrt(np.median(image.variance)))
    click.echo(f"{image.band}: noise {sigma:.4g} in blocks of {side} px, {own:.4g} from pixels")
    return replace(image, variance=np.full(image.shape, sigma**2))


def size_prior(first: Any, image: Any) -> dict[str, float]:
    """Return the default prior of sizes of one image, in pixels of another.

    Parameters
    ----------
    first : Image
        The image that has the default prior.
    image : Image
        The image whose pixels are the unit.

    Returns
    -------
    dict of str to float
        Parameters of ``[prior]``.
    """
    from probcat import Prior
    from probcat.image.alignment import align_images

    scale = align_images([first, image])[1].scale
    given = Prior.from_image(first).to_config()
    names = [f"half_light_radius_{end}" for end in ("median", "min", "max")]
    return {name: scale * given[name] for name in names}


def _condense(run: ImageRun) -> Any:
    """Catalog of about 100 draws of every chain."""
    from probcat import condense

    step = max(1, run.samples.num_draws // 100)
    return condense(run.samples.select_draws(slice(None, None, step)))


def top_blend(run: ImageRun, catalog: Any) -> np.ndarray | None:
    """Return the pixels of the first image that the brightest object covers.

    Returns
    -------
    ndarray of bool, shape (ny, nx), or None
        None if no object covers pixels around its own centre.
    """
    from scipy.ndimage import label

    from probcat import assign_pixels
    from probcat.samples.per_image import samples_per_image

    sure = np.flatnonzero(catalog["prob_exist"] > 0.5)
    if not sure.size:
        return None
    step = max(1, run.samples.num_draws // 100)
    thinned = run.samples.select_draws(slice(None, None, step))
    first = samples_per_image(thinned, run.images)[0]
    maps = assign_pixels(first, catalog, run.images[0], max_draws=100)
    for row in sure[np.argsort(-catalog["flux"][sure])]:
        # The light of a large galaxy may exceed three sigma nowhere.
        regions, _ = label(maps.map(int(catalog["object_id"][row]), "footprint") > 0.5)
        y, x = (round(float(catalog[name][row])) for name in ("y", "x"))
        inside = 0 <= y < regions.shape[0] and 0 <= x < regions.shape[1]
        if inside and regions[y, x]:
            return regions == regions[y, x]
    return None


def _count_objects(
    catalog: Any, images: list[Any], hsc: list[Any], blend: np.ndarray | None
) -> dict[str, Any]:
    """Numbers of objects above one half, in the whole image and in the top blend."""
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
