"""Trains every run of some cases, two at a time, and keeps what they scored."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

from benchmarks.doctor.corpus import CASES, Case

FILES: Final = (
    *("code_bugs", "data_problems", "signal_problems", "optimisation_problems", "recipes", "healthy"),
    *("held_out", "blind"),
)
SCORES: Final = "scores.json"


@dataclass(frozen=True)
class Trained:
    """How a run went; `error` where its loop raised."""

    score: float
    seconds: float
    error: str = ""


def load_cases() -> dict[str, Case]:
    for file in FILES:
        importlib.import_module(f"benchmarks.doctor.{file}")
    return CASES


def train_all(cases: Sequence[Case], runs: Path, jobs: int) -> dict[str, Trained]:
    """Scores by the name of the run, those of earlier trainings in the same folder included."""
    scores = read_scores(runs)
    work = [(case.name, name, bug) for case in cases for name, bug in case.runs]
    for _, name, _ in work:
        shutil.rmtree(runs / name, ignore_errors=True)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(train, case, runs, bug): name for case, name, bug in work}
        for number, future in enumerate(as_completed(futures), start=1):
            scores[futures[future]] = future.result()
            (runs / SCORES).write_text(json.dumps({name: asdict(done) for name, done in scores.items()}, indent=1))
            print(f"\r{number} of {len(work)} runs trained", end="", flush=True)
    print()
    return scores


def train(name: str, runs: Path, bug: bool) -> Trained:
    """One run, in whichever process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # bugs make PyTorch warn, which is why they are in the corpus
    case = load_cases()[name]
    start = time.perf_counter()
    try:
        score = case.score(runs, bug)
    except Exception as error:  # reported as a case that does not hold
        return Trained(float("nan"), time.perf_counter() - start, f"{type(error).__name__}: {error}")
    return Trained(score, time.perf_counter() - start)


def read_scores(runs: Path) -> dict[str, Trained]:
    file = runs / SCORES
    return {name: Trained(**fields) for name, fields in json.loads(file.read_text()).items()} if file.is_file() else {}


def does_not_hold(case: Case, scores: Mapping[str, Trained]) -> str | None:
    """Why a case is no good: its healthy run did not learn, or its bug did no harm. None if it is, or did not train."""
    trained = {bug: scores[name] for name, bug in case.runs if name in scores}
    for each in trained.values():
        if each.error:
            return f"{case.name} raised {each.error}"
    if False not in trained:
        return None
    if not trained[False].score >= case.good:
        return f"{case.name}: the healthy run scores {trained[False].score:.3f}, below {case.good}"
    if case.harm and True in trained and trained[True].score > trained[False].score - case.harm:
        return (
            f"{case.name}: the faulty run scores {trained[True].score:.3f} and the healthy one "
            f"{trained[False].score:.3f}, which is less than {case.harm} apart"
        )
    return None
