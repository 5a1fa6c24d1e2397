"""Record of a run of the sampler: the attributes of its samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from probcat.errors import InputError


@dataclass(frozen=True)
class Growth:
    """Event of an array that was full and was enlarged.

    Parameters
    ----------
    kind : {"point", "extended"}
        Kind of sources that the array holds.
    array : {"window", "catalog"}
        Whether the slots of a window or the whole catalog were full.
    draw : int
        Number of draws made before, warm-up included.
    """

    kind: str
    array: str
    draw: int

    @property
    def note(self) -> str:
        """Sentence on the event, for people."""
        full = "the slots of a window" if self.array == "window" else "the catalog"
        return (
            f"{full} for {self.kind} sources full after {self.draw} draws: "
            "enlarged, the program is compiled again"
        )


@dataclass(frozen=True)
class SamplingRecord:
    """What readers of samples need to know about the run that made them.

    Parameters
    ----------
    num_warmup : int
        Number of draws of the warm-up of every chain, with those that a run discarded because it
        had to continue.
    bands : sequence of str
        Names of the bands; fluxes are in the first one unless they are named otherwise.
    image_shapes : sequence of (int, int)
        Rows and columns of every image.
    unit : str
        Unit of the fluxes, that of the first image.
    psf_fwhm : float
        Full width at half maximum of the PSF of the first image, in pixels.
    radii : sequence of (int, int)
        Half-widths in pixels of the stamps of small and of large extended sources, in every image.
    large_size : float
        Half-light radius along the major axis, in pixels of the first image, above which a source
        is large; infinite if all have the same stamps.
    background_model : sequence of str
        Model of the background of every image, or one name for all.
    background_mesh : float
        Approximate spacing in pixels of the nodes of a mesh.
    psf_error_floor : float or None
        Relative error of the PSF, if it is a fixed number.
    prior_only : bool
        Whether the data were ignored.
    area : float
        Area in square pixels of the region that sources may be in.
    signal_edges : sequence of float
        Edges of the bins of signal-to-noise ratio of `acceptance_by_signal`.
    acceptance_by_signal : mapping
        Fraction of proposals that were accepted, by move, direction ("up" or "down") and bin of
        signal-to-noise ratio; None where there were none.
    prior : mapping
        Parameters of the default prior, as in ``[prior]`` of a configuration.
    settings : mapping
        Settings of the sampler, as in ``[sampler]`` of a configuration.
    seconds, cpu_seconds : float
        Elapsed time and processor time of the run in seconds, without earlier parts of a run that
        was resumed.
    grown : sequence of Growth
        Arrays that were full and were enlarged, in order.
    """

    num_warmup: int
    bands: Sequence[str]
    image_shapes: Sequence[tuple[int, int]]
    unit: str
    psf_fwhm: float
    radii: Sequence[tuple[int, int]]
    large_size: float
    background_model: Sequence[str]
    background_mesh: float
    psf_error_floor: float | None
    prior_only: bool
    area: float
    signal_edges: Sequence[float]
    acceptance_by_signal: Mapping[str, Mapping[str, Sequence[float | None]]]
    prior: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: float
    cpu_seconds: float
    grown: Sequence[Growth] = ()

    def to_attrs(self) -> dict[str, Any]:
        """Return the record as attributes of samples, which JSON can hold.

        Returns
        -------
        dict
            The fields, without infinite numbers; also `band`, the first band, the radii of the
            first image (`radius_attrs`), and `notes`, a sentence on every event of `grown`.
        """
        attrs = {entry.name: _as_lists(getattr(self, entry.name)) for entry in fields(self)}
        attrs["large_size"] = self.large_size if math.isfinite(self.large_size) else None
        attrs["grown"] = [asdict(event) for event in self.grown]
        derived = {"band": self.bands[0], "notes": [event.note for event in self.grown]}
        return {**attrs, **derived, **radius_attrs(self.radii[0])}

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> SamplingRecord:
        """Read the record from attributes of samples; other attributes are ignored.

        Raises
        ------
        InputError
            If an attribute is missing.
        """
        names = [entry.name for entry in fields(cls)]
        if missing := [name for name in names if name not in attrs]:
            raise InputError(
                f"samples: no attribute {', '.join(missing)}; sample again with this version"
            )
        values = {name: attrs[name] for name in names}
        values["large_size"] = math.inf if values["large_size"] is None else values["large_size"]
        values["radii"] = [(small, large) for small, large in values["radii"]]
        values["image_shapes"] = [(ny, nx) for ny, nx in values["image_shapes"]]
        values["grown"] = [Growth(**event) for event in values["grown"]]
        return cls(**values)


def radius_attrs(radii: tuple[int, int]) -> dict[str, int]:
    """Attributes of samples of one image that hold the half-widths of its stamps in pixels.

    Parameters
    ----------
    radii : (int, int)
        Those of small and of large extended sources, an entry of `SamplingRecord.radii`.
    """
    small, large = radii
    return {"extended_radius": small, "large_radius": large}


def _as_lists(value: Any) -> Any:
    """Tuples as lists, as JSON returns them."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [_as_lists(entry) for entry in value]
    return value
