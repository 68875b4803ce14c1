"""What ideal masks reach, time and memory, and how defaults were chosen."""

from __future__ import annotations

from typing import Any

from _figures.cells import Collectors, Named, Table, find, low_to_high, slug, table

_FRONT_ENDS = {
    "1024/128, 128 mels": "window 1024, hop 128, 128 mels",
    "2048/512, 256 mels": "window 2048, hop 512, 256 mels",
    "2048/128, 128 mels": "window 2048, hop 128, 128 mels",
    "1024/128, linear": "linear bins, window 1024, hop 128",
    "2048/512, linear": "linear bins, window 2048, hop 512",
}
_REPORT, _RECOMMENDED = tuple(_FRONT_ENDS)[:2]


def _oracle(result: dict[str, Any]) -> Named:
    """oracle_<data set>_<front end>_<iterations>: SDR of ideal masks."""
    rows = {
        (row["front end"], row["initial phase"], row["iterations"]): row for row in result["rows"]
    }
    from_mixture, from_random = (rows[_REPORT, phase, 10] for phase in ("mixture", "random"))
    for data_set in ("MIR-1K", "MUSDB18"):
        prefix = f"oracle_{data_set.lower().replace('-', '')}"
        for (front_end, phase, n_iter), row in rows.items():
            start = "random_phase" if phase == "random" else f"{n_iter}_iterations"
            yield f"{prefix}_{slug(front_end)}_{start}", f"{row[data_set]:.2f}"
        yield f"{prefix}_n_tracks", str(result["n_tracks"][data_set])
        cost = from_mixture[data_set] - from_random[data_set]
        yield f"{prefix}_random_phase_cost", f"{cost:.1f}"
        lines = (
            (label, *(f"{rows[front_end, 'mixture', n][data_set]:.2f}" for n in (0, 10)))
            for front_end, label in _FRONT_ENDS.items()
        )
        header = ("front end", "no iterations", "10 iterations, momentum 0")
        yield prefix, Table(header, tuple(lines))

    report, random, recommended = (
        "{MIR-1K:.2f} / {MUSDB18:.2f} dB".format_map(row)
        for row in (from_mixture, from_random, rows[_RECOMMENDED, "mixture", 10])
    )
    ceilings = (
        (f"{_FRONT_ENDS[_REPORT]} (the report's)", report, random),
        (f"{_FRONT_ENDS[_RECOMMENDED]} (recommended)", recommended, ""),
    )
    header = ("front end", "from the mixture's phase", "from random phases")
    yield "ceilings", Table(header, ceilings)


def _speed(result: dict[str, Any]) -> Named:
    """speed_<what>_<threads>_<whose>_ms, ratios, and separation beside other projects' models."""
    rows, by_threads = result["comparisons"], {1: "1 thread", 2: "2 threads"}
    times = {
        f"speed_{slug(row['name'])}_{slug(by_threads[row['threads']])}_{slug(row[side])}_ms": (
            f"{1000 * row[f'{side}, s']:.0f}"
        )
        for row in rows
        for side in ("ours", "reference")
    }
    yield from times.items()

    ratios: dict[tuple[str, str, str], dict[int, str]] = {}
    for row in rows:
        compared = ratios.setdefault((row["name"], row["ours"], row["reference"]), {})
        compared[row["threads"]] = f"{row['ratio']:.2f}"
    lines = (
        (name, reference, *(values.get(threads, "") for threads in by_threads))
        for (name, ours, reference), values in ratios.items()
        if ours == "sksep"
    )
    yield "speed", Table(("what", "beside", *by_threads.values()), tuple(lines))

    threads = max(row["threads"] for row in rows)
    separation = [row for row in rows if row["ours"] != "sksep" and row["threads"] == threads]
    lines = (
        (
            row["ours"],
            f"{row['audio, s'] / row['ours, s']:.1f}",
            f"{row['ratio']:.2f}",
            f"{find(separation, ours=row['ours'], reference='HTDemucs')['ratio']:.2f}",
        )
        for row in separation
        if row["reference"] == "Open-Unmix"
    )
    header = ("model", "times real time", "times as fast as Open-Unmix's vocals", "as HTDemucs")
    yield "peers", Table(header, tuple(lines))


def _memory(result: dict[str, Any]) -> Named:
    rows = [
        {**row, "loaded": row["after import and load, MB"] / 1000, "peak": row["peak, MB"] / 1000}
        for row in result["rows"]
    ]
    columns = {
        "preset": "{preset}",
        "minutes of stereo": "{minutes:.0f}",
        "after import and load, GB": "{loaded:.2f}",
        "peak, GB": "{peak:.2f}",
    }
    yield "memory", table(rows, columns)
    yield "memory_recommended_loaded_gb", f"{find(rows, preset='recommended')['loaded']:.2f}"


def _precision(result: dict[str, Any]) -> Named:
    """Speed of bfloat16 beside float32."""
    columns = {
        "job": "{job}",
        "threads": "{threads}",
        "float32, s": "{float32, s:.2f}",
        "bfloat16, s": "{bfloat16, s:.2f}",
        "bfloat16, times as fast": "{bfloat16, times as fast:.2f}",
    }
    yield "precision", table(result["rows"], columns)


def _versions(result: dict[str, Any]) -> Named:
    """Speed beside the first version that worked."""
    columns = {
        "job": "{job}",
        "threads": "{threads}",
        "first version, s": "{earlier, s:.2f}",
        "now, s": "{now, s:.2f}",
        "times as fast": "{times as fast:.2f}",
    }
    yield "versions", table(result["rows"], columns)


def _large_sets(result: dict[str, Any]) -> Named:
    """Memory of training on sets of growing size, and speed of their preparation."""
    rows = [
        {
            **row,
            "peak": row["peak, MB"] / 1000,
            "disk": row["on disk, MB"] / 1000,
            "speed": f"{row['times real time']:.0f}" if row["times real time"] else "",
        }
        for row in result["rows"]
    ]
    columns = {
        "hours of mixtures": "{hours:g}",
        "tracks": "{tracks}",
        "waveforms": "{waveforms}",
        "peak, GB": "{peak:.2f}",
        "on disk, GB": "{disk:.2f}",
        "prepared, times real time": "{speed}",
    }
    yield "large_sets", table(rows, columns)


def _separate(result: dict[str, Any]) -> Named:
    """The models that ship: time, memory, and how long the command takes to start."""
    lengths = {4: "four minutes", 15: "a quarter of an hour", 30: "half an hour", 60: "an hour"}
    speed, long = (
        [{**row, "length": lengths[row["minutes"]]} for row in result[key]]
        for key in ("speed", "long files")
    )
    for row in long:
        row["peak, GB"] = f"{row['peak memory, MB'] / 1000:.2f}"
    columns = {
        "model": "`{model}`",
        "stereo at 44.1 kHz": "{length}",
        "time": "{seconds, loaded:.1f} s",
        "times real time": "{times real time, loaded:.0f}",
        "peak memory": "",
    }
    loaded = table(speed, columns)
    columns |= {
        "time": "{seconds:.0f} s",
        "times real time": "{times real time:.0f}",
        "peak memory": "{peak, GB} GB",
    }
    streamed = table(long, columns)
    yield "separate", Table(loaded.header, loaded.rows + streamed.rows)
    yield "separate_in_short", Table(loaded.header, loaded.rows + streamed.rows[-1:])
    yield "separate_60_minutes_peak_gb", find(long, minutes=60)["peak, GB"]
    unet, small = (find(speed, model=model)["seconds, loaded"] for model in ("unet", "small"))
    yield "separate_small_times_as_fast_as_unet", f"{unet / small:.1f}"
    more = (row["seconds, command"] - row["seconds, loaded"] for row in speed)
    yield "separate_command_start_seconds", low_to_high(more, ".0f")
    starts = {row["start of"]: f"{row['seconds']:.2f}" for row in result["starts"]}
    yield "separate_import_seconds", starts["import sksep"]
    with_torch = starts["import sksep, and a name that needs torch"]
    yield "separate_import_with_torch_seconds", with_torch
    yield "separate_help_seconds", starts["sksep --help"]


def _activity(result: dict[str, Any]) -> Named:
    for labels, count in result["track labels"].items():
        yield f"activity_{slug(labels)}", str(count)
    learned = {"the other singer": "the other singer", "other songs": "other songs of both singers"}
    ends = {"uhnet": "", "true vocals": ", true vocals in place of estimates"}
    lines = [
        {"label": label + end}
        | {
            singer: find(result["rows"], singer=singer, vocals=vocals, learned_on=songs)
            for singer in ("abjones", "amy")
        }
        for vocals, end in ends.items()
        for songs, label in learned.items()
    ]
    columns = {
        "detector learned on": "{label}",
        "tested on abjones: F, area": "{abjones[F-measure]:.3f}, {abjones[AUC]:.3f}",
        "on amy: F, area": "{amy[F-measure]:.3f}, {amy[AUC]:.3f}",
    }
    yield "activity", table(lines, columns)


def _mask_exponent(mir1k: dict[str, Any], musdb18: dict[str, Any]) -> Named:
    columns = {"exponent": "{exponent}", "scores": "{NSDR:.2f} / {SIR:.1f} / {SAR:.1f}"}
    one, other = (table(result["rows"], columns).rows for result in (mir1k, musdb18))
    scores = dict(other)
    header = ("exponent", "MIR-1K, amy -> abjones", "MUSDB18 sample, unknown artists")
    yield "mask_exponent", Table(header, tuple((*row, scores[row[0]]) for row in one))


def _search(result: dict[str, Any]) -> Named:
    labels = {"unet": "U-Net", "uhnet": "UH-Net"}
    columns = {
        "candidate": "{label}",
        "steps": "{steps}",
        "unknown singers": "{NSDR, unknown singers:.2f}",
        "known singers, other songs": "{NSDR, known singers:.2f}",
    }
    rows = (
        {**row, "label": labels.get(row["candidate"], row["candidate"])} for row in result["rows"]
    )
    yield "search", table(rows, columns)


def _clustering(result: dict[str, Any]) -> Named:
    """Shares of a training step and of a prediction."""
    classic = find(result["loss"], loss="classic")
    yield "clustering_classic_loss_share", f"{100 * classic['share']:.0f} %"
    for row in result["clusterer"]:
        name = f"clustering_k_means_by_{row['clusters of each']}_share"
        yield name, f"{100 * row['share']:.0f} %"


def _mir1k_development(*results: dict[str, Any]) -> Named:
    columns = {
        "preset": "{preset}",
        "steps": "{training[steps]}",
        "excerpts per step": "{training[batch_size]}",
        "GNSDR": "{GNSDR:.2f}",
        "GSIR": "{GSIR:.2f}",
        "GSAR": "{GSAR:.2f}",
        "SDR, mean": "{SDR:.2f}",
    }
    yield "mir1k_development", table(results, columns)


_READINGS = {
    "all bins": "all bins",
    "mean over seconds": "chunks",
    "over those with singing": "singing",
    "audible bins": "audible",
    "weighted by magnitude": "magnitude",
}


def _masks(result: dict[str, Any]) -> Named:
    """mask_psnr and mask_iou: scores of the same masks, read in several ways."""
    first = {"masks of": "{masks}", "test": "{test}"}
    columns = {title: f"{{PSNR, {name}:.1f}}" for title, name in _READINGS.items()}
    yield "mask_psnr", table(result["rows"], first | columns)
    columns = {
        title: f"{{IoU, {name}:.0f}}" for title, name in _READINGS.items() if name != "singing"
    }
    yield "mask_iou", table(result["rows"], first | columns | {"accuracy": "{accuracy:.0f}"})


COLLECTORS: Collectors = {
    ("masks",): _masks,
    ("oracle",): _oracle,
    ("speed",): _speed,
    ("memory",): _memory,
    ("large_sets",): _large_sets,
    ("precision",): _precision,
    ("versions",): _versions,
    ("separate",): _separate,
    ("activity",): _activity,
    ("mask_exponent-mir1k", "mask_exponent-musdb18"): _mask_exponent,
    ("search",): _search,
    ("clustering",): _clustering,
    ("mir1k-recommended-dev", "mir1k-report_front_end-dev"): _mir1k_development,
}
