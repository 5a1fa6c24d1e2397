"""Settings of the sampler."""

from dataclasses import dataclass

from probcat.errors import InputError
from probcat.model.renderer import DEFAULT_TOLERANCE


@dataclass(frozen=True)
class SamplerSettings:
    """Settings of the sampler: the keys of ``[sampler]`` in a configuration.

    Attributes
    ----------
    window_interior : int
        Side in pixels of the square in a window whose sources move, in windows for point sources.
    window_interior_extended : int
        The same in windows for all sources; 0 takes 64, or 32 in crowded fields.
    border : float
        Largest distance in pixels of a source outside the image; -1 takes one PSF FWHM, rounded
        up to half pixels.
    psf_tolerance : float
        Largest error of the low-rank form of the PSF, relative to its peak.
    extended_radius : int
        Half-width in pixels of the stamp of a small extended source; 0 takes it from the PSF.
    passes, extended_passes : int
        Number of placements of windows in a draw: for point sources, and for all sources. 0 takes,
        for all sources, as many as visit every source twice on average. Where a window for all
        sources covers the whole image, 0 takes three, and `passes` counts as at most four. Where
        point sources have no windows of their own, there are at least four for all sources, or
        `passes` if that is smaller.
    birth_death, split_merge, merge_and_split, companion : int
        Number of moves of point sources of each type in the visit of a window.
    extended_moves : int
        Number of births and deaths of extended sources in the visit of a window; other moves that
        involve extended sources are made in proportion.
    refit_two_stars : int
        Number of fits of a galaxy against two stars in a draw, in a placement of windows of their
        own. They distinguish bright close pairs from galaxies.
    refit_star_and_galaxy : int
        Number of fits of a galaxy against a galaxy and a star in a draw, in the same placement.
        They also find more fragments of galaxies that have no Sersic profile.
    leapfrog_steps : int
        Number of steps of the joint Hamiltonian move at the end of a visit.
    start_beta : float
        Inverse temperature of the likelihood at the start of the warm-up; 0 takes the one at which
        the brightest object hardly stands out from the noise, or 1e-3 for stars alone
        (`probcat.sampler.warmup.tempering`).
    tempering_fraction : float
        Fraction of the warm-up in which the inverse temperature rises to one; -1 takes three
        quarters, or half for stars alone.
    first_image_fraction : float
        Fraction of the warm-up in which the first of several images is sampled alone, which costs
        less; -1 takes one half for three images or more if there are galaxies, else 0.
    num_temperatures : int
        Number of chains, at different temperatures, that exchange their catalogs; with 1 there is
        no exchange.
    min_beta : float
        Smallest inverse temperature of these chains, that of the hottest one.
    checkpoint_interval : int
        Number of draws between two checkpoints.
    """

    window_interior: int = 16
    window_interior_extended: int = 0
    border: float = -1.0
    psf_tolerance: float = DEFAULT_TOLERANCE
    extended_radius: int = 0
    passes: int = 8
    extended_passes: int = 0
    birth_death: int = 2
    split_merge: int = 14
    merge_and_split: int = 4
    companion: int = 6
    extended_moves: int = 6
    refit_two_stars: int = 2
    refit_star_and_galaxy: int = 0
    leapfrog_steps: int = 5
    start_beta: float = 0.0
    tempering_fraction: float = -1.0
    first_image_fraction: float = -1.0
    num_temperatures: int = 1
    min_beta: float = 0.3
    checkpoint_interval: int = 10

    def __post_init__(self) -> None:
        for name in (
            "window_interior",
            "leapfrog_steps",
            "checkpoint_interval",
            "passes",
            "num_temperatures",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"[sampler] {name} = {getattr(self, name)}; it must be 1 or more")
        for name in (
            "extended_passes",
            "birth_death",
            "split_merge",
            "merge_and_split",
            "companion",
            "extended_moves",
            "refit_two_stars",
            "refit_star_and_galaxy",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"[sampler] {name} = {getattr(self, name)}; it must be 0 or more")
        if not 0.0 <= self.start_beta <= 1.0:
            raise InputError(f"[sampler] start_beta = {self.start_beta}; it must be in [0, 1]")
        for name in ("tempering_fraction", "first_image_fraction"):
            if getattr(self, name) > 1.0:
                raise InputError(f"[sampler] {name} = {getattr(self, name)}; it must be at most 1")
        for name in ("psf_tolerance", "min_beta"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InputError(f"[sampler] {name} = {getattr(self, name)}; it must be in (0, 1]")
