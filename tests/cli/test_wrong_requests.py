"""A wrong request is answered with one sentence that names the option and the value, and nothing is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kerasmlp.cli import main
from kerasmlp.run import Run

# Each command with a pattern of its answer: which option or file is wrong, what was received, what would be right.
REQUESTS = [
    ("train digits --sizes 784,10", "784.*64,10"),
    ("train digits --sizes 64", r"`--sizes`.*\[64\]"),
    ("train digits --sizes 64,0,10", r"`--sizes`.*at least 1.*\b0\b"),
    ("train digits --sizes 64,-3,10", r"`--sizes`.*at least 1.*-3"),
    ("train digits --sizes 64,2.5,10", "--sizes.*`64,2.5,10`"),
    ("train digits --sizes 64,10 --hidden 3", "--hidden.*not allowed with.*--sizes"),
    ("train digit", "`digit`.*`digits`"),
    ("train absent.npz", "`absent.npz`"),
    ("train empty.npz", "`empty.npz`.*empty"),
    ("train digits --image-size 32", "--image-size.*`32x32`.*`32`"),
    ("train digits --image-size 32x0", "--image-size.*`32x32`.*`32x0`"),
    ("train digits --image-size 8x8", "`--image-size` does not apply.*folders of images"),
    ("train digits --epochs 0", r"`--epochs`.*\b0\b"),
    ("train digits --minutes 0", r"`--minutes`.*\b0"),
    ("train digits --minutes 2 --epochs 3", "`--minutes`.*leave `--epochs` out"),
    ("train absent.npz --precision bf16", "`--precision`.*`bf16`.*`bfloat16`"),
    ("tune absent.npz --precision float16", "`--precision`.*`float16`"),
    ("train digits --epochs many", "--epochs.*'many'"),
    ("train digits --batch-size 100000", "`--batch-size`.*100000"),
    ("train digits --learning-rate -1", "`--learning-rate`.*-1"),
    ("train digits --activation rellu", "rellu.*`relu`"),
    ("train digits --out {run}", "another run.*`--out`.*`--overwrite`"),
    ("train digits --folds 1", r"`--folds`.*at least 2.*\b1\b"),
    ("train digits --folds 143", "`--folds 143`.*class `0` has 142"),
    ("tune digits --repeats 2", "`--repeats 2`.*`--folds`"),
    ("tune digits --folds 2 --repeats 0", r"`--repeats`.*at least 1.*\b0\b"),
    ("tune digits --out {run}", "another run.*`--out`.*`--overwrite`"),
    ("tune digits --learning-rate 0.1:0.01", "0.1:0.01"),
    ("tune digits --seed -1", "--seed.*from 0 to.*`-1`"),
    ("tune digits --seed 99999999999999999999999", "--seed.*from 0 to"),
    ("train digits --kernel-initializer constant", "`--kernel-initializer`.*constant"),
    ("tune digits --vary drop=0:1", "`drop`.*`dropout`"),
    ("tune digits --vary dropout", "`--vary`.*NAME=CHOICES.*`dropout`"),
    ("tune digits --space none.toml", "`none.toml`"),
    ("tune digits --role chief", "`--role` and `--address`.*`--role chief`"),
    ("tune digits --workers 99", "`--workers`.*99"),
    ("tune digits --batch-size 0", r"`--batch-size`.*\b0\b"),
    ("tune digits --oracle oracle", "oracle `oracle`.*random"),
    ("export absent", "`absent`"),
    ("export {run} --tflite out --quantize int3", "`int3`.*int8"),
    ("export {run} --saved-model out --fine-tune 5", "`--fine-tune`.*`--tflite DIR`"),
    ("export {run} --tflite out --quantize float16 --fine-tune 5", "`--fine-tune 5`.*`--quantize`.*float16"),
    ("train digits --quantize-aware int3", "`--quantize-aware`.*`int3`.*`int"),
    ("export {run} --saved-model out --quantize int8", "`--quantize`.*`--tflite DIR`"),
    ("export {run} --saved-model out --mediapipe", "`--mediapipe`.*`--tflite DIR`"),
    ("export {run} --tflite out --keep 2", "`--keep`.*`--saved-model BASE`"),
    ("export {run} --tflite out --batch many", "--batch.*`dynamic`.*`many`"),
    ("export {run} --tflite out --batch 0", r"`--batch`.*at least 1.*\b0\b"),
    ("evaluate {run} digits --task regression", "knows its columns and its task; leave out `--task`"),
    ("evaluate {run} digits --quantiles 0.1,0.9", "knows its columns and its task; leave out `--quantiles`"),
    ("export {run} --tflite out --output class", "`--output`.*class_id.*`class`"),
    ("export {run} --tflite out --calibration absent.npz", "`absent.npz`"),
    ("export {run} --tflite out --mediapipe --io int8", "`--io int8`.*`--mediapipe`"),
    ("export {run} --tflite empty.npz/below", "`.*empty.npz` is a file"),
    ("evaluate damaged.tflite digits", "`damaged.tflite`.*damaged"),
    ("export {run} --saved-model empty.npz", "`.*empty.npz` is a file"),
    ("evaluate absent digits", "`absent`"),
    ("evaluate empty.npz digits", "`empty.npz`.*run directory"),
    ("predict {run} absent.png", "`absent.png`"),
    ("predict {run} broken.png", "`broken.png`.*image"),
    ("info empty.npz", "`empty.npz`.*empty"),
    ("info damaged.tflite", "`damaged.tflite`.*damaged"),
    ("info {run} --target y", "`--target`.*`.*digits`"),
    ("train digits --label-smoothing 1", r"`--label-smoothing`.*less than 1.*1\.0"),
    ("train digits --ema 1", r"`--ema`.*less than 1.*1\.0"),
    ("train digits --epochs 2 --warm-up 2", "`--warm-up 2` and `--epochs 2`"),
    ("train digits --weight-decay -1", r"`--weight-decay`.*at least 0.*-1\.0"),
    ("train digits --augment halved=1+17", "`halved`.*`17`.*`7`"),
    ("tune digits --label-smoothing -1", r"`--label-smoothing`.*at least 0.*-1\.0"),
    ("train digits --class-weight fair", "`--class-weight`.*balanced.*fair"),
    ("train digits --test-share 2", "`--test-share`.*2"),
    ("train digits --test-share notebook", "--test-share.*'notebook'"),
    ("train digits --target kind", "`--target`.*`digits`"),
    ("quickstart --out {run}", "another run.*`--out`.*`--overwrite`"),
    ("lesson --epochs 0", r"`--epochs`.*\b0\b"),
    ("lesson --reproduce-notebook --loss cross_entropy", "`--reproduce-notebook`.*mse"),
    ("frobnicate", "'frobnicate'.*'train'"),
]


@pytest.mark.parametrize(("line", "answer"), REQUESTS, ids=[line for line, _ in REQUESTS])
def test_a_wrong_request_is_answered_with_one_sentence_and_writes_nothing(
    capfd: pytest.CaptureFixture[str],
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    answer: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.npz").touch()
    Path("broken.png").write_bytes(b"\x89PNG broken")
    Path("damaged.tflite").write_bytes(b"\x1c\0\0\0TFL3 and no more")
    try:
        status = main(line.format(run=digits_run.path).split())
    except SystemExit as ended:  # argparse ends the process itself
        status = int(str(ended.code))
    out, err = capfd.readouterr()
    assert status == 2
    assert re.search(answer, err), err
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1, "one line"
    assert not re.search(r"[.?]\.(\s|$)", err), "one full stop"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["broken.png", "damaged.tflite", "empty.npz"]
