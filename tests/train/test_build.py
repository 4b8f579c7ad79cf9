import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from descend.catalog import DATA, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from descend.errors import RecipeError
from descend.recipe import Recipe
from descend.train.build import build, flops_a_step
from descend.train.fit import fit, load_model

FITTING = {"cnn": "digits", "rnn": "adding", "transformer": "characters"}


def test_the_cost_of_a_step_is_six_operations_for_each_use_of_a_weight():
    dense = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    assert flops_a_step(dense, torch.zeros(128, 784)) == 6 * 128 * (784 * 512 + 512 * 10)
    convolution = nn.Conv2d(3, 5, 3)
    assert flops_a_step(convolution, torch.zeros(2, 3, 8, 8)) == 6 * convolution.weight.numel() * 2 * 6 * 6
    recurrent = nn.GRU(4, 7, batch_first=True)
    weights = recurrent.weight_ih_l0.numel() + recurrent.weight_hh_l0.numel()
    assert flops_a_step(recurrent, torch.zeros(2, 9, 4)) == 6 * weights * 2 * 9


def test_small_work_gets_one_thread_and_large_work_all_cores(monkeypatch):
    monkeypatch.setattr("descend.train.build.cores", lambda: 2)
    threads = torch.get_num_threads()
    try:
        assert build(Recipe()).threads == 1
        assert build(Recipe(data="digits", model="mlp", width=1024, batch_size=256)).threads == 2
        assert build(Recipe(threads=2)).threads == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_trains_with_every_optimizer(model, optimizer, tmp_path):
    data = FITTING.get(model, "sines" if model == "linear" else "moons")
    size = {} if model == "linear" else {"width": 8, "depth": 1}
    run = fit(Recipe(data=data, model=model, optimizer=optimizer, steps=2, evaluate_every=2, **size), runs=tmp_path)
    assert run.status == "finished"


@pytest.mark.parametrize("data", [name for name in DATA if name != "table"])
def test_every_data_set_trains(data, tmp_path):
    model = {"digits": "cnn", "characters": "rnn", "adding": "rnn"}.get(data, "mlp")
    assert fit(Recipe(data=data, model=model, steps=2, evaluate_every=2), runs=tmp_path).status == "finished"


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_every_schedule_trains(schedule, tmp_path):
    assert fit(Recipe(schedule=schedule, steps=6, lr=1e-4), runs=tmp_path).status == "finished"


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_trains(loss, tmp_path):
    data = "moons" if loss in ("cross_entropy", "bce_with_logits") else "sines"
    assert fit(Recipe(data=data, model="mlp", loss=loss, steps=6), runs=tmp_path).status == "finished"


LAYERS = Recipe(data="moons", model="mlp", width=8, optimizer="adamw", lr=0.01, dtype="float64", epochs=3)


@pytest.mark.parametrize("exempt", ["none", "biases_and_norms"])
def test_layers_with_rates_of_their_own_train_like_parameter_groups_of_torch(exempt: str, tmp_path: Path) -> None:
    recipe = LAYERS.but(layer_lrs="hidden.0=0.1,head.bias=0.001", decay_exempt=exempt, schedule="linear")
    trained = load_model(fit(recipe, runs=tmp_path)).state_dict()

    torch.manual_seed(recipe.seed)
    parts = build(recipe)
    rates = {"hidden.0.weight": 0.1, "hidden.0.bias": 0.1, "head.bias": 0.001}
    groups = [
        {"params": [p], "lr": rates.get(name, 0.01), "weight_decay": 0.01 if exempt == "none" or p.ndim > 1 else 0.0}
        for name, p in parts.model.named_parameters()
    ]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, parts.schedule)
    for inputs, targets in itertools.islice(parts.batches.after(0), parts.steps):
        optimizer.zero_grad()
        (parts.loss(parts.model(inputs), targets) * parts.batches.weight(len(inputs))).backward()
        optimizer.step()
        schedule.step()
    for name, value in parts.model.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("rates", "says"),
    [("heads=0.1", "names 'heads', which this model does not have. Did you mean 'head'"), ("head=0", "above 0")],
)
def test_rates_of_no_layer_or_of_nothing_are_refused(rates: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        build(LAYERS.but(layer_lrs=rates))
