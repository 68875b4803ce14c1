"""All separators of sksep under equal budgets, on real recordings.

    python benchmarks/compare.py --data-set mir1k --minutes 20 --threads 2
    python benchmarks/compare.py --data-set mir1k --data MIR-1K --minutes 60 --seeds 0 1 2
    python benchmarks/compare.py --data-set musdb18 --preset report --steps 2000 --checkpoints 10
    python benchmarks/compare.py --data-set dsd100 --data DSD100 --only unet uhnet
    python benchmarks/compare.py --data-set mir1k --limit 3 --steps 4           # does it run?

Trains every network for the same minutes on this machine (or the same number of steps), scores it
beside classical methods, the mixture and ideal masks, and writes one table (Markdown and JSON) with
the figures of others beside it, one table per protocol.

Data sets
  mir1k    the published protocol if all 1000 clips are there, else amy -> abjones
  musdb18  the 7-second sample or the whole, split by artist: a fifth is tested on (--fold)
  dsd100   its own parts, Dev -> Test, as in the source report

Presets
  report       window 1024, hop 128, 128 mel bands, the report's losses, rmsprop
  recommended  those of sksep.presets: window 2048, hop 512, 256 mel bands, AdamW with a one-cycle
               schedule, more augmentation; U-Nets and UH-Nets learn the SNR of the waveform,
               clustering networks keep their losses

Every finished run is a record of its own, RESULTS/compare/DATA_SET-PRESET/MODEL-seedN-DIGEST.json,
with losses per epoch and scores per track; trained weights are kept in the cache. A run is not
repeated if its record agrees in data set, protocol, budget, machine, threads and parameters, so
start the same command again after an interruption: at most the model in training is lost. Records
that differ are listed with the differences, and left out of the table. The code of sksep is not
part of a record: after a change of code, delete the records (and the cache) that it concerns.
"""

from __future__ import annotations

import argparse
import hashlib
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from _lib import data
from _lib.evaluation import Evaluation, at_snapshot
from _lib.models import COMPARED_PRESETS, MODELS, Model, pipeline, sharing
from _lib.options import add_changes, changes
from _lib.published import REPORT
from _lib.records import Parameters, Run, plain, read, write_record
from _lib.results import FOLDER, environment, machine, settings, write
from _lib.scores import PROTOCOL
from _lib.tables import convergence_rows, convergence_table, main_rows, main_table, published_tables
from _lib.training import Budget, train
from sklearn.pipeline import Pipeline

import sksep

# Settings of a training that are recorded, but need not agree unless they were asked for.
_NOTED = ("checkpoints",)
# Settings in which records may differ from this machine when tables alone are made.
_PLACE = ("machine", "device", "threads")


@dataclass
class Comparison:
    """A data set, its split, and the options."""

    options: argparse.Namespace
    split: data.Split
    _fitted: dict[tuple[str, int], tuple[Pipeline, dict[str, Any]]] = field(default_factory=dict)

    @cached_property
    def tests(self) -> data.Part:
        """The tracks that are tested on."""
        return self.split.test.spread(self.options.limit)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Evaluation on the test tracks."""
        return Evaluation(self.tests)

    @cached_property
    def checkpoint_tracks(self) -> data.Part:
        """The few test tracks that are scored at checkpoints."""
        return self.tests.spread(self.options.checkpoint_tracks)

    @cached_property
    def checkpoint_evaluation(self) -> Evaluation:
        """Evaluation on the tracks of checkpoints."""
        return Evaluation(self.checkpoint_tracks)

    @cached_property
    def batch(self) -> Any:
        """The training tracks with targets, which all models share."""
        print(f"Reading {len(self.split.train)} training tracks.", flush=True)
        front = pipeline(MODELS["unet"], self.options.preset, 0, changes=changes(self.options))[:2]
        return front.fit_transform(self.split.train.mixtures, self.split.train.vocals)

    @property
    def folder(self) -> Path:
        """Folder of the records."""
        return Path(self.options.results) / "compare" / self._case

    @property
    def cache(self) -> Path:
        """Folder of trained weights."""
        return Path(self.options.cache) / self._case

    @property
    def _case(self) -> str:
        return f"{self.options.data_set}-{self.options.preset}"

    @cached_property
    def _common(self) -> dict[str, str]:
        options = self.options
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return {
            "data set": options.data_set,
            "protocol": self.split.protocol,
            "tracks": _digest(self.split),
            "preset": options.preset,
            "machine": machine(),
            "device": device,
            "threads": str(torch.get_num_threads()),
        }

    def _training_settings(self) -> dict[str, str]:
        options = self.options
        result = {
            **self._common,
            "budget": str(_budget(options)),
            "steps per epoch": str(options.steps_per_epoch),
        }
        if options.checkpoints:
            n_tracks = len(self.checkpoint_tracks)
            result["checkpoints"] = f"{options.checkpoints} on {n_tracks} test tracks"
        return result

    def _scoring_settings(self, model: Model) -> dict[str, str]:
        return {
            **(self._training_settings() if model.learns == "network" else self._common),
            "test tracks": f"{len(self.tests)} of {len(self.split.test)}",
            "scores": PROTOCOL,
            "iterations": str(self.options.n_iter),
        }

    def check_changes(self) -> None:
        """Refuse parameters that no model has."""
        there = [model for model in MODELS.values() if model.is_there]
        known = {name for model in there for name in self._pipeline(model, 0).get_params()}
        unknown = sorted(changes(self.options).keys() - known)
        if unknown:
            raise SystemExit(f"No model has the parameters {', '.join(unknown)} of --set.")

    def seeds(self, model: Model) -> list[int]:
        """Seeds of a model. A model that is not trained has one."""
        return self.options.seeds if model.learns == "network" else [0]

    def run_of(self, model: Model, seed: int) -> Run:
        """Identity of the scores of a model."""
        made = self._pipeline(model, seed)
        made["separate"].set_params(**model.prediction)
        return Run(model.name, seed, self._scoring_settings(model), Parameters.of(made.steps[:3]))

    def make_record(self, model: Model, seed: int) -> None:
        """Train a model, unless that was done before, score it and write the record."""
        if model.learns == "network":
            fitted, trained = self._trained(model.training_name, seed)
        else:
            fitted, trained = self._pipeline(model, seed), _UNTRAINED
            if model.learns == "nothing":
                fitted["separate"].fit(self.batch)
                fitted["invert"].fit(self.batch)
        fitted["separate"].set_params(**model.prediction)
        fitted["invert"].set_params(n_iter=self.options.n_iter)
        scores, tracks = self.evaluation.scores(
            fitted, f"Scoring {model.name}", given_truth=model.learns == "truth"
        )
        run = self.run_of(model, seed)
        file_name = run.file_name
        run.settings.update(trained["noted"])
        record = {
            **run.description(),
            "environment": environment(),
            "n_parameters": _n_parameters(fitted["separate"]),
            "training": trained["training"],
            "scores": scores,
            "checkpoints": trained["checkpoints"].get(model.name, []),
            "history": trained["history"],
            "tracks": tracks,
        }
        write_record(self.folder / f"{file_name}.json", record)

    def _pipeline(self, model: Model, seed: int, clustering: Any = None) -> Pipeline:
        """An unfitted pipeline. A clustering separator that it is given may be unfitted, too."""
        if model.clustering is not None and clustering is None:
            given = sharing(model.clustering)[0]
            clustering = self._pipeline(given, seed)["separate"]
        return pipeline(
            model,
            self.options.preset,
            seed,
            changes={
                "separate__validation_fraction": self.options.validation_fraction,
                "separate__verbose": int(self.options.verbose),
                "invert__n_iter": self.options.n_iter,
                **changes(self.options),
            },
            clustering=clustering,
        )

    def _trained(self, training: str, seed: int) -> tuple[Pipeline, dict[str, Any]]:
        """A trained pipeline and the record of its training: kept, from the cache, or new."""
        if (training, seed) not in self._fitted:
            # One seed at a time: networks are only shared within it.
            self._fitted = {key: value for key, value in self._fitted.items() if key[1] == seed}
            self._fitted[training, seed] = self._load(training, seed) or self._train(training, seed)
        return self._fitted[training, seed]

    def _training_run(self, training: str, seed: int) -> Run:
        made = self._pipeline(sharing(training)[0], seed)
        return Run(training, seed, self._training_settings(), Parameters.of(made.steps[:3]))

    def _load(self, training: str, seed: int) -> tuple[Pipeline, dict[str, Any]] | None:
        path, _ = self._training_run(training, seed).find(self.cache)
        if path is None or not path.with_suffix(".safetensors").is_file():
            return None
        print(f"Loading {training}, seed {seed}.", flush=True)
        return sksep.load(path.with_suffix(".safetensors")), read(path)

    def _train(self, training: str, seed: int) -> tuple[Pipeline, dict[str, Any]]:
        model = sharing(training)[0]
        clustering = None
        if model.clustering is not None:
            clustering = self._trained(model.clustering, seed)[0]["separate"]
        made = self._pipeline(model, seed, clustering)
        print(f"Training {training}, seed {seed}, for {_budget(self.options)}.", flush=True)
        taken, snapshots = train(
            made, self.batch, _budget(self.options), n_snapshots=self.options.checkpoints
        )
        run = self._training_run(training, seed)
        history = [_plain_row(row) for row in made["separate"].history_]
        record = {
            **run.description(),
            "noted": {name: run.settings[name] for name in _NOTED if name in run.settings},
            "training": taken,
            "checkpoints": {},
            "history": history,
        }
        # Before the checkpoints are scored, so that a failure there costs no training.
        self._save(run, made, record)
        record["checkpoints"] = self._checkpoints(training, made, snapshots, history)
        self._save(run, made, record)
        return made, record

    def _checkpoints(
        self,
        training: str,
        fitted: Pipeline,
        snapshots: dict[int, dict[str, torch.Tensor]],
        history: list[dict[str, Any]],
    ) -> dict[str, list[dict[str, float]]]:
        """GNSDR at each snapshot, of each model that is scored from the training."""
        curves: dict[str, list[dict[str, float]]] = {}
        for epoch, weights in snapshots.items():
            then = at_snapshot(fitted, weights, self.batch)
            for model in sharing(training):
                then["separate"].set_params(**model.prediction)
                point = {
                    "epoch": epoch,
                    "steps": epoch * _budget(self.options).epoch_length,
                    "seconds": sum(row["train_dur"] for row in history[:epoch]),
                    "GNSDR": self.checkpoint_evaluation.gnsdr(then),
                }
                curves.setdefault(model.name, []).append(point)
        return curves

    def _save(self, run: Run, fitted: Pipeline, record: dict[str, Any]) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        # Weights do not belong into a repository, wherever the cache is.
        (Path(self.options.cache) / ".gitignore").write_text("*\n")
        path = self.cache / f"{run.file_name}.json"
        try:
            sksep.save(fitted, path.with_suffix(".safetensors"), overwrite=True)
        except ValueError as error:
            print(f"The weights of {run.name} could not be kept: {error}", flush=True)
        else:
            write_record(path, record)


_UNTRAINED: dict[str, Any] = {"noted": {}, "training": {}, "checkpoints": {}, "history": []}


def main() -> None:
    """Run missing models, then write the tables."""
    options = _parser().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    comparison = Comparison(options, _split(options))
    comparison.check_changes()
    failed = [] if options.table_only else run_missing(comparison)
    write_tables(comparison)
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}; see the messages above.")


def run_missing(comparison: Comparison) -> list[str]:
    """Make the records that are not there; names of the models that failed."""
    failed = []
    names = comparison.options.only or list(MODELS)
    absent = [name for name in names if not MODELS[name].is_there]
    if absent:
        print(f"Not in this version of sksep: {', '.join(absent)}.")
    seeds = sorted({seed for name in names for seed in comparison.seeds(MODELS[name])})
    for seed in seeds:
        for name in names:
            model = MODELS[name]
            if name in absent or name in failed or seed not in comparison.seeds(model):
                continue
            try:
                found, _ = comparison.run_of(model, seed).find(comparison.folder)
                if found is None:
                    comparison.make_record(model, seed)
                else:
                    print(f"Already there: {found.name}")
            except Exception:  # the others are to go on, through the night
                traceback.print_exc()
                failed.append(name)
    return failed


def write_tables(comparison: Comparison) -> None:
    """Print and write the tables of all records that agree with the options."""
    options = comparison.options
    paths, left_out = _matching(comparison)
    if left_out:
        print("Left out of the table, since they were made otherwise:")
        print("\n".join(f"  {line}" for line in left_out))
    if not paths:
        raise SystemExit("There are no records to make a table of.")
    records = {name: [read(path) for path in group] for name, group in paths.items()}
    some = next((group[0] for group in records.values() if group[0]["history"]), None)
    some = some or next(iter(records.values()))[0]
    said = some["settings"]
    caption = (
        f"{said['data set']}, {said['protocol']}; {said['test tracks']} test tracks; preset "
        f"{said['preset']}; {said.get('budget', 'nothing')} of training per network; "
        f"{said['threads']} thread(s) of {said['machine']}, {said['device']}."
    )
    tables = [caption, main_table(records), convergence_table(records)]
    text = "\n\n".join([*filter(None, tables), published_tables(options.data_set)])
    print(f"\n{text}")
    name = options.name or f"compare-{options.data_set}-{options.preset}"
    results = {
        "caption": caption,
        "rows": plain(main_rows(records)),
        "convergence": plain(convergence_rows(records)),
        "records": {name: [path.name for path in group] for name, group in paths.items()},
        "options": settings(options),
        "report": REPORT.as_rows(),
    }
    write(name, results, text, Path(options.results))


def _matching(comparison: Comparison) -> tuple[dict[str, list[Path]], list[str]]:
    """Files of the records of each model that agree, and how the others differ."""
    paths: dict[str, list[Path]] = {}
    left_out: list[str] = []
    place = _usual_place(comparison)
    for name, model in MODELS.items():
        if not model.is_there:
            continue
        for seed in comparison.seeds(model):
            run = comparison.run_of(model, seed)
            run.settings.update(place)
            found, mismatches = run.find(comparison.folder)
            left_out += mismatches
            if found is not None:
                paths.setdefault(name, []).append(found)
    return paths, left_out


def _usual_place(comparison: Comparison) -> dict[str, str]:
    """Machine and threads of most of the records, for tables alone; else those of here."""
    if not comparison.options.table_only:
        return {}
    places = Counter(
        tuple(read(path)["settings"][name] for name in _PLACE)
        for path in sorted(comparison.folder.glob("*.json"))
    )
    return dict(zip(_PLACE, places.most_common(1)[0][0], strict=True)) if places else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{_listed_models()}",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--data-set", required=True, choices=("mir1k", "musdb18", "dsd100"))
    add("--data", help="folder of the data set (default: in SKSEP_DATA_HOME)")
    add("--preset", default="report", choices=COMPARED_PRESETS)
    add("--n-iter", type=int, default=10, help="Griffin-Lim iterations")
    add("--threads", type=int, help="threads of torch (default: its own choice)")
    add_changes(parser)
    add("--test-singer", default="abjones", help="mir1k without its test clips: tested on")
    add("--fold", type=int, default=0, help="musdb18: which fifth of the artists is tested on")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=20.0, help="per network (default: 20)")
    budget.add_argument("--steps", type=int, help="per network, instead of minutes")
    add("--steps-per-epoch", type=int, default=50, help="of every network (default: 50)")
    add("--validation-fraction", type=float, default=0.1, help="of the training tracks")
    add("--seeds", type=int, nargs="+", default=[0], help="of networks; several give mean ± std")
    add("--only", nargs="+", choices=list(MODELS), metavar="NAME", help="run these models")
    add("--checkpoints", type=int, default=0, metavar="K", help="score K points of each training")
    add("--checkpoint-tracks", type=int, default=12, help="test tracks scored there (default: 12)")
    add("--limit", type=int, metavar="N", help="test on N tracks, evenly spaced")
    add("--table-only", action="store_true", help="run nothing; any one machine's records do")
    add("--name", help="of the tables (default: compare-DATA_SET-PRESET)")
    add("--results", default=str(FOLDER), help="folder of tables and records")
    add("--cache", default=str(Path(__file__).parent / ".cache"), help="folder of trained weights")
    add("--verbose", action="store_true", help="a line per epoch")
    return parser


def _listed_models() -> str:
    width = max(map(len, MODELS))
    lines = [f"  {name:{width}}  {model.title}" for name, model in MODELS.items()]
    return "\n".join(["Models (both outputs of hybrid clustering share a training)", *lines])


def _split(options: argparse.Namespace) -> data.Split:
    if options.data_set == "mir1k":
        return data.mir1k(options.data, test_singer=options.test_singer)
    if options.data_set == "musdb18":
        return data.musdb18(options.data, fold=options.fold)
    return data.dsd100(options.data)


def _budget(options: argparse.Namespace) -> Budget:
    return Budget(options.minutes, options.steps, options.steps_per_epoch)


def _digest(split: data.Split) -> str:
    """Numbers of tracks, and a short digest of their names."""
    names = [
        [Path(path).parent.name + "/" + Path(path).name for path in source.paths]
        for part in (split.train, split.test)
        for source in part.mixtures
    ]
    digest = hashlib.sha256(repr(names).encode()).hexdigest()[:8]
    return f"{len(split.train)} + {len(split.test)}, {digest}"


def _n_parameters(separator: Any) -> int:
    net = getattr(separator, "net_", None)
    return 0 if net is None else sum(part.numel() for part in net.module_.parameters())


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Values of a row of the history that can be stored."""
    return {
        name: value if isinstance(value, (bool, int)) else float(value)
        for name, value in row.items()
        if isinstance(value, (bool, int, float))
    }


if __name__ == "__main__":
    main()
