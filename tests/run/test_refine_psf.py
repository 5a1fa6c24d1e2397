"""PSFs corrected by catalogs."""

from dataclasses import replace

import galsim
import jax
import numpy as np
import pytest
from click.testing import CliRunner

from probcat import PSF, Image, InputError, Samples, VaryingPSF, refine_psf
from probcat.image.fits_output import write_image
from probcat.run.cli import main
from probcat.run.refine_psf import correct_psf
from probcat.run.refined_psfs import with_psfs, write_psfs

SHAPE, NOISE, LEVEL = (64, 70), 3.0, 50.0
GRID = np.arange(-6.0, 6.01, 0.25)


def star_field(seed, number=60, profile=None):
    """Crowded stars rendered by GalSim, S/N 60 to 3,000."""
    rng = np.random.default_rng(seed)
    profile = profile or galsim.Moffat(beta=3.0, fwhm=2.4).shear(g1=0.06, g2=-0.03)
    flux = 700.0 * 50.0 ** rng.uniform(0.0, 1.0, number)
    x, y = rng.uniform(-1.0, SHAPE[1], number), rng.uniform(-1.0, SHAPE[0], number)
    image = galsim.Image(SHAPE[1], SHAPE[0], scale=1.0)
    for one in zip(flux, x, y, strict=True):
        centre = galsim.PositionD(one[1] + 1.0, one[2] + 1.0)
        image += profile.withFlux(one[0]).drawImage(image.copy(), center=centre)
    data = image.array + LEVEL + rng.normal(0.0, NOISE, SHAPE)
    return data.astype(np.float32), {"x": x, "y": y, "flux": flux}, profile


def true_psf(profile):
    whole = galsim.Convolve([profile, galsim.Pixel(1.0)])
    samples = whole.drawImage(nx=101, ny=101, scale=0.2, method="no_pixel")
    return PSF.from_pixels(np.asarray(samples.array, float), oversampling=5)


def as_samples(sources, draws=1):
    """Draws that all hold the true catalog."""
    number = len(sources["x"])

    def repeated(values):
        return np.broadcast_to(values, (1, draws, number)).copy()

    columns = {name: repeated(np.asarray(v, np.float32)) for name, v in sources.items()}
    columns |= {
        name: repeated(np.full(number, np.nan, np.float32))
        for name in ("half_light_radius", "ellipticity_1", "ellipticity_2", "sersic_n")
    }
    columns["active"] = repeated(np.ones(number, bool))
    columns["is_extended"] = repeated(np.zeros(number, bool))
    return Samples(columns, {"background": np.full((1, draws), LEVEL)}, {}, {"radii": [[12, 12]]})


def make_image(data, psf):
    variance = np.full(SHAPE, NOISE**2, np.float32)
    return Image.from_arrays(data, variance, psf=psf, band="r")


def worst(psf, truth):
    one, other = (p.evaluate_grid(GRID, GRID) for p in (psf, truth))
    return np.abs(one - other).max() / other.max()


def test_a_wrong_psf_becomes_right():
    """What is left of an error of 7 % of the peak is less than a fifth of it."""
    data, sources, profile = star_field(1)
    truth = true_psf(profile)
    wrong = PSF.moffat(2.6, 3.0, size=25)
    before = worst(wrong, truth)
    (image,) = correct_psf([make_image(data, wrong)], as_samples(sources))
    assert before > 0.06
    assert worst(image.psf, truth) < 0.2 * before
    assert "refined with 60 stars of 1 sampled catalogs" in image.psf.notes[-1]


def test_a_right_psf_stays_right():
    data, sources, profile = star_field(2)
    truth = true_psf(profile).cut(12)
    (image,) = correct_psf([make_image(data, truth)], as_samples(sources, draws=2), num_draws=2)
    assert worst(image.psf, truth) < 0.015


def test_masked_and_wild_pixels_do_no_harm():
    data, sources, profile = star_field(3)
    truth = true_psf(profile)
    mask = np.zeros(SHAPE, bool)
    mask[20:24] = True
    data = np.where(mask, 1e6, data)
    brightest = np.argmax(sources["flux"])
    row, column = (min(max(round(sources[n][brightest]), 3), 60) for n in ("y", "x"))
    data[row + 2, column - 3] += 1e4
    variance = np.full(SHAPE, NOISE**2, np.float32)
    image = Image.from_arrays(data, variance, mask, psf=PSF.moffat(2.6, 3.0, size=25))
    (image,) = correct_psf([image], as_samples(sources))
    assert worst(image.psf, truth) < 0.02


def test_too_few_stars_are_refused():
    data, sources, profile = star_field(4)
    few = {name: values[:2] for name, values in sources.items()}
    with pytest.raises(InputError, match="too few stars to refine the PSF: 2 of S/N above 50"):
        correct_psf([make_image(data, true_psf(profile).cut(12))], as_samples(few))


def test_psfs_that_vary_are_refused_before_anything_is_sampled():
    data, _, _ = star_field(4)
    narrow, wide = (PSF.gaussian(fwhm, size=13).evaluate_grid(GRID, GRID) for fwhm in (2.2, 2.8))
    grid = np.array([[narrow, wide], [wide, wide]])
    varying = VaryingPSF.from_grid([0.0, 60.0], [0.0, 60.0], grid, 4)
    assert varying.variation is not None
    image = make_image(data, PSF.gaussian(2.5, size=13))
    with pytest.raises(
        InputError, match="cannot refine a PSF that varies across the image; drop --refine-psf"
    ):
        refine_psf(replace(image, psf=varying), progress_bar=False)


@pytest.mark.slow
def test_catalogs_are_sampled_and_the_psf_follows():
    """The PSF is 2 % too wide, 3.7 % of its peak: farther off, bright stars are split in two."""
    data, _, profile = star_field(5, number=40)
    truth = true_psf(profile)
    wrong = true_psf(galsim.Moffat(beta=3.0, fwhm=2.45).shear(g1=0.06, g2=-0.03))
    (image,) = refine_psf(
        make_image(data, wrong),
        rng_key=jax.random.key(5),
        progress_bar=False,
        extended_fraction=0.0,
    )
    assert worst(image.psf, truth) < 0.6 * worst(wrong, truth)


def test_psfs_of_a_run_are_kept(tmp_path):
    data, _, profile = star_field(6)
    image = make_image(data, true_psf(profile).cut(10))
    write_psfs(tmp_path / "psf.fits", [image, image])
    other = replace(image, psf=PSF.gaussian(2.0, size=9))
    found = with_psfs(tmp_path / "psf.fits", [other, other])
    # Samples are tapered at the border of their array, each time they are read.
    assert worst(found[1].psf, image.psf) < 1e-3
    with pytest.raises(
        InputError, match=r"psf.fits: holds PSF_1, PSF_2, but the images need PSF_1"
    ):
        with_psfs(tmp_path / "psf.fits", [other])


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_refines_first_and_continues_with_that_psf(tmp_path, monkeypatch, real):
    """The short run itself is left out where tests have to be fast."""
    data, _, profile = star_field(7, number=25)
    write_image(tmp_path / "image.fits", make_image(data, PSF.moffat(2.5, 3.0, size=21)))
    asked = {}

    def stand_in(images, **options):
        asked.update(options)
        better = replace(true_psf(profile).cut(10), notes=("refined with no stars",))
        return [replace(image, psf=better) for image in images]

    if not real:
        monkeypatch.setattr("probcat.run.refine_psf.refine_psf", stand_in)
    config = tmp_path / "stars.toml"
    config.write_text("[prior]\nextended_fraction = 0.0\n", encoding="utf-8")
    out = tmp_path / "out"
    given = ["run", str(tmp_path / "image.fits"), "--out", str(out), "--config", str(config)]
    counts = ["--num-chains", "2", "--num-warmup", "5", "--num-samples", "5", "--quiet"]
    result = CliRunner().invoke(main, [*given, "--refine-psf", "2", *counts])
    assert result.exit_code == 0, result.output
    assert "PSF: refined with" in result.output
    if not real:
        assert asked["rounds"] == 2
        assert asked["extended_fraction"] == 0.0
    text = (out / "config.toml").read_text(encoding="utf-8")
    assert "refine_psf = 0" in text
    assert str(out / "psf.fits") in text
    again = CliRunner().invoke(main, ["run", "--out", str(out), "--resume", "--quiet"])
    assert again.exit_code == 0, again.output
    (out / "psf.fits").unlink()
    lost = CliRunner().invoke(main, ["condense", str(out)])
    assert lost.exit_code != 0
    assert "psf.fits" in lost.output
