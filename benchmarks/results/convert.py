"""Turn the raw results that were committed before 2026-11-28 into summaries."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.ranks import Record, mixing, pooled_coverage, uniformity
from benchmarks.support.results import write_summary

FOLDER = Path(__file__).parent
NUISANCES = ("background", "offset_", "flux_scale", "psf_error", "psf_width", "noise_scale")
NOT_RECORDED = "not recorded (before 2026-11-28)"


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}_x86_64_2_cores.json").read_text())


def git(*arguments: str) -> str:
    command = ["git", "-C", str(FOLDER), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def write(new: str, old: str, results: dict, settings: dict, command: str, given: str = "") -> None:
    origin = {"commit": NOT_RECORDED}
    origin["committed_in"] = given or git(
        "log", "--format=%h", "-1", "--", f"{old}_x86_64_2_cores.json"
    )
    origin["committed_on"] = git("log", "--format=%as", "-1", origin["committed_in"])
    origin |= {"device": results.pop("device"), "command": command or "not recorded"}
    if new.startswith(("calibration", "hsc", "joint")):
        origin["note"] = "measured without fits of two stars, today refit_two_stars = 0"
    write_summary(FOLDER / f"{new}.json", {**origin, "settings": settings, **results})


def grouped(old: dict[str, Any]) -> dict[str, Any]:
    """Put single numbers into the groups that summaries have."""
    new: dict[str, Any] = {}
    groups = (("accepted_", "accepted"), ("rhat_", "rhat"), ("ess_", "ess"))
    groups += (("half_complete_mag_at_fdr_", "half_complete_mag_at_fdr"), ("starnet_", "starnet"))
    for name, value in old.items():
        if name.startswith("mean_") and name.endswith("_of_chains"):
            name = name.removeprefix("mean_").removesuffix("_of_chains")
            new.setdefault("nuisance_means_of_chains", {})[name] = value
        elif name.startswith("ess_") and name.endswith("_per_cpu_s"):
            name = name.removeprefix("ess_").removesuffix("_per_cpu_s")
            name = {"n": "num_sources", "lnl": "log_likelihood"}.get(name, name)
            new.setdefault("ess_per_cpu_s", {})[name] = value
        elif name.startswith(NUISANCES) and name + "_sd" in old:
            new.setdefault("nuisances", {})[name] = [value, old[name + "_sd"]]
        elif name.startswith(NUISANCES) and isinstance(value, list):
            new.setdefault("nuisances", {})[name] = value
        elif name.startswith(NUISANCES) and name.endswith("_sd"):
            continue
        elif name in ("n_mean", "n_sd"):
            new[name.replace("n_", "num_sources_")] = value
        elif name == "num_sources" and isinstance(value, list):
            new |= {"num_sources_mean": value[0], "num_sources_sd": value[1]}
        elif name == "num_extended":
            new["num_extended_mean"] = value
        elif (
            name.endswith(("_s", "_cpu_s"))
            and name.startswith(("setup", "compile_", "draw_"))
            and "draw_s" in old
        ):
            new.setdefault("cost", {})[name] = value
        elif group := next((g for g in groups if name.startswith(g[0])), None):
            short = name.removeprefix(group[0])
            short = {"n": "num_sources", "lnl": "log_likelihood"}.get(short, short)
            new.setdefault(group[1], {})[short] = value
        else:
            new[name.replace("share_", "fraction_")] = value
    return new


def calibration(name: str, command: str) -> None:
    old = read(name)
    record = Record(old["settings"], old["ranks"], old["exists"], old["diagnostics"])
    p_values = uniformity(record)
    for key, value in old["p_values"].items():
        assert np.isclose(value, p_values[key]), (name, key)
    summary = {key: old[key] for key in ("device", "scenes", "num_draws", "seconds_per_scene")}
    for key in ("seconds", "cpu_seconds"):
        if key in record.diagnostics:
            summary[f"median_{key}_of_scene"] = float(np.median(record.diagnostics[key]))
    summary |= {"num_quantities": len(p_values), "smallest_p": min(p_values.values())}
    summary["p_values"] = dict(sorted(p_values.items(), key=lambda item: item[1]))
    summary |= {"coverage": pooled_coverage(record), "mixing": mixing(record)}
    summary["peak_rss_mib"] = old["peak_rss_mib"]
    if name == "calibration":
        again = read("calibration_again")
        later = Record(again["settings"], again["ranks"], again["exists"], again["diagnostics"])
        p_values = uniformity(later)
        summary["later_scenes"] = {
            "about": "other scenes of the same prior, sampled with the sampler of several images",
            "committed_in": "3950d56",
            "scenes": later.num_scenes,
            "num_quantities": len(p_values),
            "smallest_p": min(p_values.values()),
            "p_values": dict(sorted(p_values.items(), key=lambda item: item[1])),
            "coverage": pooled_coverage(later),
            "mixing": mixing(later),
        }
    write(name, name, summary, old["settings"], command)


def objects() -> None:
    old = read("objects")
    settings = old.pop("settings")
    del old["scenes"]
    old["blends"] = old.pop("number")
    for name in ("exist", "star", "light"):
        rows = np.array(old[f"reliability_{name}"], dtype=float)
        columns = zip(("mean", "frequency", "count"), rows.T, strict=True)
        old[f"reliability_{name}"] = {key: values for key, values in columns}
        old[f"reliability_{name}"]["count"] = rows[:, 2].astype(int)
    old["fraction_rhat_above_1.1"] = old.pop("share_rhat_above_1.1")
    command = (
        "python -m benchmarks.objects --num-warmup 240 --num-samples 80 (and --scenes 70 --seed 1)"
    )
    write("objects", "objects", old, settings, command)


def sim_blend() -> None:
    old = read("sim_blend")
    settings = old.pop("settings")
    bands = list(settings["bands"])
    programs = {"probcat": old.pop("probcat"), **old.pop("programs")}
    results = grouped(old)
    for name in ("objects", "objects_sure", "prob_exist", "prob_star"):
        results[name] = programs["probcat"][name]
    results["bands"] = bands
    results["programs"] = {}
    for name, scores in programs.items():
        row: dict[str, Any] = {"found": scores["found"]}
        for new, (group, key) in {
            "mean_iou": ("masks", "mean_iou"),
            "masks_iou_above_half": ("masks", "true_with_iou_above_0.5"),
            "light_correct": ("light", "correct"),
            "light_brier": ("light", "brier"),
        }.items():
            row[new] = [scores[f"{group}_{band}"][key] for band in bands]
        results["programs"][name] = row
    command = "python -m benchmarks.sim_blend --seconds 1900 --num-warmup 500"
    write("sim_blend", "sim_blend", results, settings, command)


def bands() -> None:
    start = "python -m benchmarks.bands"
    refined = f"{start} --psf stars --psf-floor --refine 2 --seconds 400 --bands r"
    for old, new, run, key, command, given in (
        ("bands_stars_psf", "bands_stars_psf_r", "r (400 CPU-s after refining)", "r", refined, ""),
        (
            "bands_stars_psf",
            "bands_stars_psf_rgi",
            "rgi (1100 CPU-s after refining)",
            "rgi",
            "",
            "3b7e87e",
        ),
        ("bands_simulated", "bands_simulated_r", "r (300 CPU-s)", "r", f"{start} --simulated", ""),
        (
            "bands_simulated",
            "bands_simulated_rgi",
            "rgi (700 CPU-s)",
            "rgi",
            f"{start} --simulated",
            "",
        ),
    ):
        settings = read(old)[run]
        results = {"device": settings.pop("device"), **grouped(settings.pop(key))}
        settings["run"] = run
        write(new, old, results, {**settings, "bands": [key]}, command, given)


def others() -> None:
    for name, command in {
        "m2": "python -m benchmarks.m2 --seconds 600",
        "m2_stars_psf": "python -m benchmarks.m2 --psf stars --psf-floor --sky --seconds 250",
        "m2_uncertain_psf": "",
        "condensing": "python -m benchmarks.condensing",
        "hsc": "python -m benchmarks.hsc --num-chains 2 --num-warmup 60 --seconds 500 --setting block=5",
        "psf_floor": "python -m benchmarks.psf_floor --psf-error sampled",
    }.items():
        old = read(name)
        settings = old.pop("settings")
        if name == "condensing":
            old["num_sampled"] = old.pop("num_sources")
            old["unassigned_per_draw"] = old.pop("unassigned_a_draw")
        if name == "psf_floor":
            settings["psf_error"] = "sampled"
        results = grouped(old)
        if "num_sampled" in results:
            results = {"num_sources" if k == "num_sampled" else k: v for k, v in results.items()}
        write(name, name, results, settings, command)
    old = read("moves")
    write("moves", "moves", old, {}, "")
    old = read("scaling")
    rows = old.pop("rows")
    results = {"device": old.pop("device"), **{key: [row[key] for row in rows] for key in rows[0]}}
    write("scaling", "scaling", results | old, {}, "python -m benchmarks.scaling")
    old = read("joint")
    results = {k: grouped(v) if k in ("hsc", "hst", "joint") else v for k, v in old.items()}
    settings = results.pop("settings")
    write("joint", "joint", results, settings, "")


if __name__ == "__main__":
    calibration("calibration", "python -m benchmarks.calibration")
    calibration("calibration_two_images", "python -m benchmarks.calibration --images 2 --scenes 60")
    calibration(
        "calibration_three_images", "python -m benchmarks.calibration --images 3 --scenes 60"
    )
    calibration("calibration_six_images", "python -m benchmarks.calibration --images 6 --scenes 29")
    objects()
    sim_blend()
    bands()
    others()
