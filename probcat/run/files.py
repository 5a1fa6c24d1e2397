"""Names of the files in the directory of a run."""

CONFIG = "config.toml"
SAMPLES = "samples.nc"
CHAIN = "chain"
PSFS = "psf.fits"
CATALOG = "catalog.fits"
ALTERNATIVES = "alternatives.fits"
MEMBERS = "members.nc"
ASSIGNMENT = "assignment.fits"
MODEL = "model.fits"
FIGURES = ("objects.png", "residual.png", "traces.png", "blend.png", "pixels.png")
REPORT = "report.html"
