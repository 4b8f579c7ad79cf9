"""descend learn from the first exercise to the explanation: what it says, what it keeps, and what cannot harm it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from descend.cli._main import descend as cli
from descend.learn import CHAPTERS, Verdict, _child, path
from descend.learn._trial import check

FILE = Path("learn/2.1-stable_lr.py")
ANSWER = """
import numpy as np


def max_stable_lr(X, y):
    return 2 / np.linalg.eigvalsh(2 / len(X) * X.T @ X)[-1]
"""
HALF = ANSWER.replace("return 2", "return 1")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> Result:
    return CliRunner().invoke(cli, ["learn", *line.split()])


def ok(line: str) -> str:
    result = run(line)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def refusal(line: str) -> str:
    result = run(line)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def not_yet(line: str = "check") -> str:
    result = run(line)
    assert result.exit_code == 1, result.output
    return result.stdout


def answer(source: str) -> None:
    ok("2.1")
    FILE.write_text(source, encoding="utf-8")


# --- from the list to the explanation ---------------------------------------------------------------------------------


def test_the_list_shows_five_chapters_every_exercise_and_what_to_do_next() -> None:
    text = ok("")
    assert text.startswith(f"0 of {len(path())} exercises passed.")
    for chapter in CHAPTERS:
        assert f"{chapter.number}  {chapter.title}" in text
        assert chapter.file in text
    for exercise in path().values():
        assert f"   {exercise.number:<5}{exercise.title}" in text
    first = next(iter(path().values()))
    assert text.splitlines()[-1].startswith(f"Next: descend learn {first.number}  (")
    assert max(map(len, text.splitlines())) <= 80


def test_an_exercise_from_opening_to_its_explanation() -> None:
    text = ok("2.1")
    assert "docs/02-Gradient-Descent.md#" in text
    assert str(FILE) in text
    assert "descend learn check" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "opened" in ok("")
    assert f"Next: complete {FILE}, then: descend learn check" in ok("")

    assert "max_stable_lr is not written yet." in not_yet()

    FILE.write_text(HALF, encoding="utf-8")
    text = not_yet()
    assert "property  the largest stable learning rate on 40 hidden rows of 3 features" in text
    assert "observed  0." in text
    assert "before it held" not in text
    assert "expected  between 0." in text

    FILE.write_text(ANSWER, encoding="utf-8")
    text = ok("check")
    assert "passed. All 18 properties hold." in text
    assert " ".join(path()["stable_lr"].explanation.split()[:9]) in " ".join(text.split())
    assert f"1 of {len(path())} exercises passed." in ok("")

    FILE.write_text(HALF, encoding="utf-8")
    not_yet()
    assert f"1 of {len(path())} exercises passed." in ok(""), "what was passed once stays passed"


def test_hints_come_one_at_a_time_and_the_last_stays() -> None:
    ok("2.1")
    hints = path()["stable_lr"].hints
    for rung, hint in enumerate([*hints, hints[-1]], start=1):
        text = ok("hint")
        assert f"hint {min(rung, len(hints))} of {len(hints)}" in text
        assert " ".join(hint.split()) in " ".join(text.split())
    assert "the last again" in text


def test_an_exercise_goes_by_its_name_too_and_is_checked_from_another_folder(tmp_path: Path) -> None:
    ok("stable_lr --into mine")
    Path("mine/2.1-stable_lr.py").write_text(ANSWER, encoding="utf-8")
    assert "passed" in ok("check stable_lr --into mine")
    assert ok("--into mine").startswith("1 of ")
    assert not Path("learn").exists()
    assert ok("").startswith("0 of ")


def test_inside_the_folder_of_exercises_no_other_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ok("2.1")
    monkeypatch.chdir("learn")
    assert "not written yet" in not_yet()
    assert not Path("learn").exists()


# --- json -------------------------------------------------------------------------------------------------------------


def test_json_of_the_list_a_file_a_hint_and_a_check() -> None:
    opened = json.loads(ok("2.1 --json"))
    assert opened["file"] == str(FILE)
    assert opened["new"]
    assert json.loads(ok("hint --json"))["rung"] == 1
    FILE.write_text(HALF, encoding="utf-8")
    verdict = json.loads(not_yet("check --json"))
    assert (verdict["passed"], verdict["kind"], verdict["checked"]) == (False, "refused", 0)
    assert verdict["what"]
    assert verdict["observed"]
    assert verdict["expected"]
    assert "explanation" not in verdict
    listed = json.loads(ok("--json"))
    assert [chapter["number"] for chapter in listed["chapters"]] == [1, 2, 3, 4, 5]
    (mine,) = (entry for entry in listed["chapters"][1]["exercises"] if entry["number"] == "2.1")
    assert (mine["state"], mine["checks"], mine["hints"]) == ("opened", 1, 1)
    assert (listed["last"], listed["next"], listed["passed"]) == ("2.1", "2.1", 0)
    FILE.write_text(ANSWER, encoding="utf-8")
    assert json.loads(ok("check --json"))["explanation"]


# --- nothing of the reader's is lost ----------------------------------------------------------------------------------


def test_opening_again_leaves_the_file_and_again_keeps_it_beside() -> None:
    answer(HALF)
    assert "as you left it" in ok("2.1")
    assert FILE.read_text() == HALF
    for number in (1, 2):
        FILE.write_text(f"{HALF}# {number}\n")
        kept = FILE.with_name(f"2.1-stable_lr.old-{number}.py")
        assert str(kept) in ok("2.1 --again")
        assert kept.read_text() == f"{HALF}# {number}\n"
        assert "raise NotImplementedError" in FILE.read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"last": 3}', '{"exercises": {"stable_lr": []}}', "\udcff"])
def test_damaged_progress_is_kept_and_counted_anew(content: str) -> None:
    answer(HALF)
    Path("learn/progress.json").write_bytes(content.encode(errors="surrogateescape"))
    result = run("")
    assert result.exit_code == 0
    assert "learn/progress.json is damaged. It is kept as progress.old-1.json" in result.stderr
    assert "opened" in result.stdout, "the file is still there"
    assert Path("learn/progress.old-1.json").read_bytes() == content.encode(errors="surrogateescape")
    assert FILE.read_text() == HALF
    ok("2.1")
    assert run("").stderr == ""


def test_the_progress_file_of_another_program_is_left_alone() -> None:
    theirs = '{"epochs": 12, "best": 0.5}'
    Path("progress.json").write_text(theirs)
    ok("")
    ok("2.1")
    assert Path("progress.json").read_text() == theirs
    assert Path("learn/2.1-stable_lr.py").is_file()


def test_progress_that_names_files_elsewhere_or_unknown_exercises_leads_nowhere() -> None:
    Path("learn").mkdir()
    Path("secret.py").write_text("")
    marks = {"stable_lr": {"file": "../secret.py"}, "gone": {"passed": "2020-01-01 00:00:00"}}
    Path("learn/progress.json").write_text(json.dumps({"last": "gone", "exercises": marks}))
    assert ok("").startswith("0 of ")
    assert "2.1" in refusal("check 2.1")
    assert "No exercise is open in " in refusal("check")


def test_a_file_that_is_gone_is_opened_again_by_the_command_that_is_named() -> None:
    ok("2.1")
    FILE.unlink()
    assert refusal("check") == f"Error: {FILE} is gone. Open it: descend learn 2.1\n"
    ok("2.1")
    assert FILE.exists()


def test_a_verdict_is_told_though_it_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(HALF)

    def full(file: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("descend.learn._folder.write_atomically", full)
    result = run("check")
    assert result.exit_code == 1
    assert "observed" in result.stdout
    assert result.stderr.startswith("learn/progress.json cannot be written (No space left on device), so this is not")


# --- wrong commands ---------------------------------------------------------------------------------------------------


HERE = "(the current folder)"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("9.9", "There is no exercise 9.9. Did you mean "),
        ("0", f"There is no exercise 0. Did you mean {next(iter(path().values())).number}?"),
        ("stabel_lr", "There is no exercise stabel_lr. Did you mean stable_lr?"),
        ("chek", "There is no 'chek' in learn. Did you mean 'check'?"),
        ("check 2.99", "There is no exercise 2.99. Did you mean 2."),
        ("check", f"No exercise is open in {HERE}/learn. Open one: descend learn "),
        ("hint", f"No exercise is open in {HERE}/learn. Open one: descend learn "),
        ("check 2.1", f"2.1 is not open in {HERE}/learn. Open it: descend learn 2.1. "),
        ("2.1 2.2", "Name one exercise, or check or hint before it, but not '2.1 2.2'."),
        ("--again", "--again opens an exercise anew, so name one: descend learn 2.1 --again."),
        ("2.1 --into taken", "Invalid value for '--into': Directory 'taken' is a file."),
        ("2.1 --into taken/below", "taken"),
    ],
)
def test_a_wrong_command_is_answered_by_one_sentence_and_makes_nothing(line: str, sentence: str) -> None:
    Path("taken").write_text("")
    assert refusal(line).removeprefix("Error: ").replace(os.getcwd(), HERE).startswith(sentence)
    assert os.listdir() == ["taken"]


def test_the_shell_completes_actions_and_exercises() -> None:
    complete = ShellComplete(cli, {}, "descend", "_DESCEND_COMPLETE")
    assert "check" in {item.value for item in complete.get_completions(["learn"], "c")}
    assert {item.value for item in complete.get_completions(["learn", "check"], "stab")} == {"stable_lr"}
    assert "2.1" in {item.value for item in complete.get_completions(["learn"], "2.")}


def test_the_list_and_a_task_need_neither_numpy_nor_torch() -> None:
    program = """
import sys
from descend.cli import main
try:
    main()
finally:
    print([name for name in ("numpy", "torch", "rich") if name in sys.modules])
"""
    for words in ([], ["2.1"], ["hint"]):
        command = [sys.executable, "-c", program, "learn", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


# --- whatever the reader's code does ----------------------------------------------------------------------------------


def body(*lines: str) -> str:
    return "\n".join(["def max_stable_lr(X, y):", *(f"    {line}" for line in lines), ""])


@pytest.mark.parametrize(
    ("source", "kind", "sentence", "line"),
    [
        ("def max_stable_lr(X, y)\n    return 1\n", "syntax", "Your file is not valid Python: expected ':'.", 1),
        ("x = '\0'\n", "syntax", "Your file is not valid Python: source code ", None),
        (body("return X / undefined"), "raised", "max_stable_lr raised NameError: name 'undefined' is not defined", 2),
        ("import nowhere\n", "raised", "Your file raised ModuleNotFoundError: No module named 'nowhere'", 1),
        (body("raise SystemExit"), "exit", "max_stable_lr ends the program (exit).", 2),
        ("exit()\n", "exit", "Your file ends the program (exit).", 1),
        ("import os\nos._exit(0)\n", "exit", "Your file ended Python (os._exit?)", None),
        (body("import os", "os.abort()"), "crash", "Your file crashed Python itself (SIGABRT).", 3),
        (body("return max_stable_lr(X, y)"), "raised", "max_stable_lr calls itself without end", 2),
        (body("raise MemoryError"), "memory", "max_stable_lr needs more memory than a check may take.", 2),
        (body("return float(input())"), "raised", "max_stable_lr waits for input", 2),
        (body("raise KeyboardInterrupt"), "raised", "max_stable_lr raised KeyboardInterrupt.", 2),
        (
            "class Broken(Exception):\n    def __str__(self):\n        return 1\n" + body("raise Broken"),
            "raised",
            "max_stable_lr raised Broken.",
            5,
        ),
        ("def max_lr(X, y):\n    return 1\n", "missing", "Your file has no max_stable_lr.", None),
        ("max_stable_lr = ...\n", "not written", "max_stable_lr is not written yet.", None),
        ("max_stable_lr = 3\n", "unusable", "The check cannot go on with what your file returned: TypeError", None),
        (
            "def max_stable_lr(X):\n    return 1\n",
            "signature",
            "The check calls max_stable_lr with 2 arguments; max_stable_lr(X) has too many positional arguments.",
            None,
        ),
        (body("import os", "os.kill(os.getpid(), 9)"), "crash", "The system ended your file (SIGKILL)", None),
        (body("pass"), "refused", "the largest stable learning rate", None),
        (body("return '0.1'"), "refused", "the largest stable learning rate", None),
        (body("return X"), "refused", "the largest stable learning rate", None),
        (body("return float('nan')"), "refused", "the largest stable learning rate", None),
    ],
)
def test_whatever_goes_wrong_is_one_sentence_with_the_readers_line(
    source: str, kind: str, sentence: str, line: int | None
) -> None:
    Path("mine.py").write_text(source, encoding="utf-8")
    if any(word in source for word in ("os.", "exit", "input")):  # what ends the process, or asks it for something
        verdict, printed = check("stable_lr", Path("mine.py"))
        assert "Traceback" not in printed
    else:
        verdict = _child._judged("stable_lr", "mine.py")
    assert (verdict.kind, verdict.line) == (kind, line), verdict
    assert verdict.sentence.startswith(sentence)
    assert verdict.code in source
    assert "\n" not in verdict.sentence


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (body("while True:", "    pass"), (2, 3)),
        (
            body("while True:", "    try:", "        print('x' * 10_000)", "    except:", "        pass"),
            (2, 3, 4, 5, 6),
        ),
        (body("return sum(range(10**14))"), (None,)),  # a call that gives way to nothing
        ("import time\ntime.sleep(60)\n", (2,)),
    ],
    ids=["endless loop", "endless output", "one endless call", "when imported"],
)
def test_what_does_not_end_is_ended_and_the_line_is_told(source: str, line: tuple[int | None, ...]) -> None:
    Path("mine.py").write_text(source, encoding="utf-8")
    began = time.monotonic()
    verdict, printed = check("stable_lr", Path("mine.py"), seconds=0.4)
    assert verdict.kind == "too slow"
    assert "was still running after 0.4 seconds." in verdict.sentence
    assert verdict.line in line
    assert time.monotonic() - began < 30  # it takes 3 where the machine is free
    assert len(printed) < 5000


def test_who_holds_too_much_memory_is_told_in_which_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Verdict] = []
    monkeypatch.setattr(_child, "MEMORY", 1)
    monkeypatch.setattr(_child, "leave", lambda folder, verdict: left.append(verdict))
    _child._watch(threading.get_ident(), __file__, tmp_path, 60.0)
    (verdict,) = left
    assert verdict.kind == "memory"
    assert verdict.sentence == (
        "test_who_holds_too_much_memory_is_told_in_which_line needs more memory than a check may take."
    )
    assert verdict.line


def test_processes_and_threads_that_the_readers_code_has_begun_hold_nobody_up() -> None:
    began = """
import subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
"""
    Path("mine.py").write_text(began + ANSWER, encoding="utf-8")
    start = time.monotonic()
    verdict, _ = check("stable_lr", Path("mine.py"))
    assert verdict.passed, verdict
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(("content", "sentence"), [(b"\xff\xfe", "is not text in UTF-8"), (None, "cannot be read")])
def test_a_file_that_cannot_be_read_is_told_so(content: bytes | None, sentence: str) -> None:
    Path("mine.py").write_bytes(content) if content else Path("mine.py").mkdir()
    verdict, printed = check("stable_lr", Path("mine.py"))
    assert sentence in verdict.sentence
    assert printed == ""


def test_a_folder_with_a_space_in_its_name_is_quoted_in_every_command() -> None:
    result = CliRunner().invoke(cli, ["learn", "2.1", "--into", "my folder"])
    assert "descend learn check --into 'my folder'" in result.stdout


def test_what_the_code_prints_is_shown_and_cut() -> None:
    answer("print('a' * 300)\nfor k in range(50):\n    print('line', k)\n" + ANSWER)
    lines = ok("check").splitlines()
    assert lines[0] == "Your file printed:"
    assert lines[2] == "  line 0"
    assert lines[11] == "  ..."
    assert max(map(len, lines)) <= 80


def test_a_file_called_like_a_package_hides_nothing() -> None:
    answer("import helper\n" + ANSWER)
    for folder in (".", "learn"):
        Path(folder, "numpy.py").write_text("raise SystemExit('shadowed')")
    Path("learn/helper.py").write_text("")
    assert "passed" in ok("check")
