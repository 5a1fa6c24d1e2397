"""The globular cluster M2: cutouts of SDSS, and the stars that HST finds there."""

from typing import Any

import numpy as np

from benchmarks.support.data import data_path

PRIOR = {
    "flux_min": 250.0,
    "flux_slope": 2.0,
    "background": 179.0,
    "parsimony": 1.5,
    "extended_fraction": 0.0,
}
"""Prior of PCAT-lion for M2 in r, as parameters of ``[prior]`` (Portillo et al. 2017)."""
RADIUS = 0.75
"""Largest distance in pixels at which an object is matched to a star."""
MAX_MAG_DIFFERENCE = 0.5
"""Largest difference of magnitudes of a match."""
BORDER = 2.5
"""Width in pixels of the border of the image whose stars are not counted."""
EDGES = np.arange(15.0, 24.0)
"""Edges of the magnitude bins."""
FRAME_ORIGIN = (310, 630)
"""Pixel (x, y) of the SDSS frame that is the first pixel of the cutout."""
PSF_RADIUS = 12
"""Half-width of the PSF of the cutout in pixels."""
HST_LIMIT = 22.33
"""Faintest magnitude in r of the truth of Liu et al. (2023), 1,000 electrons of HST."""
STARNET_RADIUS = 0.5
"""Largest distance in pixels along each axis of a match of Liu et al. (2023)."""
STARNET_MAG_DIFFERENCE = 0.5
"""Largest difference of magnitudes of a match of Liu et al. (2023)."""
STARNET_BORDER = 5
"""Width in pixels of the border that Liu et al. (2023) leave out."""


def read_cutout(band: str, psf: str = "given") -> Any:
    """Read the cutout of one band.

    Parameters
    ----------
    band : str
        Band of SDSS.
    psf : str
        Source of the PSF: ``given`` takes that of the cutout's file, ``frame`` that of the
        psField file of the frame, and ``stars`` builds one from stars of the cutout.

    Returns
    -------
    Image
    """
    from probcat import Image

    options: dict[str, Any] = {}
    if psf == "stars":
        options = {"estimate_psf": True}
    elif psf == "frame":
        file = data_path("sdss_2583_2_136/psField-002583-2-0136.fit")
        options = {"psf": file, "psf_origin": FRAME_ORIGIN, "psf_radius": PSF_RADIUS}
    return Image.read(data_path(f"m2/m2_{band}.fits"), band=band, **options)


def magnitude(image: Any, flux: Any) -> np.ndarray:
    """Return magnitudes of fluxes in the unit of an image with a zero point."""
    return image.zero_point - 2.5 * np.log10(np.asarray(flux, dtype=float))


def hst_stars(image: Any) -> Any:
    """Return the stars of HST with the magnitudes that the image gives their fluxes in r.

    Returns
    -------
    probcat.metrics.Sources
        Positions in pixels of the cutout in r.
    """
    from astropy.table import Table

    from probcat.metrics import Sources

    table = Table.read(data_path("m2/m2_truth_hst.fits"))
    x, y, flux = (np.asarray(table[name], float) for name in ("x", "y", "flux"))
    return Sources(x, y, magnitude(image, flux))


def match_frames(truth: Any, found: Any) -> Any:
    """Return the stars of HST, shifted by the median offset of bright stars of a catalog."""
    from probcat.metrics import measure_offset

    offset = measure_offset(
        found, truth, radius=1.0, max_mag_difference=MAX_MAG_DIFFERENCE, brighter_than=19.0
    )
    return truth.shift(*offset)


def score_stars(found: Any, truth: Any, shape: tuple[int, int], edges: np.ndarray = EDGES) -> Any:
    """Return completeness and false-discovery rate of a catalog by magnitude.

    Parameters
    ----------
    found, truth : probcat.metrics.Sources
        The catalog, and the stars of HST in its frame.
    shape : tuple of int
        Rows and columns of the image.
    edges : ndarray
        Edges of the magnitude bins.

    Returns
    -------
    probcat.metrics.DetectionScores
    """
    from probcat.metrics import score_detection

    return score_detection(
        found,
        truth,
        radius=RADIUS,
        max_mag_difference=MAX_MAG_DIFFERENCE,
        edges=edges,
        shape=shape,
        border=BORDER,
    )


def starnet_scores(found: Any, truth: Any, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Return F1, precision and recall with the matching of Liu et al. (2023).

    Objects of probability above one half are matched to stars above `HST_LIMIT`, both outside the
    border. Positions may differ by `STARNET_RADIUS` along each axis.
    """
    from scipy.optimize import linear_sum_assignment

    def counted(sources: Any) -> np.ndarray:
        x, y = sources.x, sources.y
        inside = (x >= STARNET_BORDER) & (x <= shape[1] - STARNET_BORDER - 1)
        inside &= (y >= STARNET_BORDER) & (y <= shape[0] - STARNET_BORDER - 1)
        return inside & (sources.mag < HST_LIMIT)

    true, own = counted(truth), counted(found) & (found.prob > 0.5)
    dx, dy, dmag = (
        np.abs(getattr(found, name)[own][:, None] - getattr(truth, name)[true])
        for name in ("x", "y", "mag")
    )
    far = np.maximum(dx, dy)
    allowed = (far < STARNET_RADIUS) & (dmag < STARNET_MAG_DIFFERENCE)
    rows, cols = linear_sum_assignment(np.where(allowed, far, 10.0))
    hits = int(allowed[rows, cols].sum())
    precision, recall = hits / max(int(own.sum()), 1), hits / int(true.sum())
    return 2.0 * precision * recall / max(precision + recall, 1e-9), precision, recall
