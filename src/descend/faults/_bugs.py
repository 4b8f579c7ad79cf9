"""What people do wrong in a training loop: one function a bug, called like the check that finds it where there is one.

Each says what was written, and what was meant.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from descend.data._dataset import Split
from descend.errors import RecipeError
from descend.faults._loop import (
    Loop,
    append,
    clock_of,
    each_split,
    last_linear,
    new_optimizer,
    nothing,
    require_loss,
    require_numbers,
    sum_rows,
)

# --- gradients --------------------------------------------------------------------------------------------------------


def missing_zero_grad(loop: Loop) -> None:
    """The gradients of all steps so far add up.

    wrong:  loss.backward(); optimizer.step()
    right:  optimizer.zero_grad(); loss.backward(); optimizer.step()
    """
    loop.zero_grad = "never"


def zero_grad_once_an_epoch(loop: Loop) -> None:
    """The gradients of an epoch add up, because they are set to zero outside of the loop over batches.

    wrong:  for epoch in range(epochs): optimizer.zero_grad(); for inputs, targets in loader: ...
    right:  for epoch in range(epochs): for inputs, targets in loader: optimizer.zero_grad(); ...
    """
    loop.zero_grad = "before an epoch"


def zero_grad_before_step(loop: Loop) -> None:
    """The gradients are thrown away before they are used.

    wrong:  loss.backward(); optimizer.zero_grad(); optimizer.step()
    right:  optimizer.zero_grad(); loss.backward(); optimizer.step()
    """
    loop.zero_grad = "before the step"


def lost_accumulation(loop: Loop) -> None:
    """Gradients are to be accumulated over several batches, and all but the last are thrown away.

    wrong:  optimizer.zero_grad(); loss.backward(); if (i + 1) % accumulate == 0: optimizer.step()
    right:  loss.backward(); if (i + 1) % accumulate == 0: optimizer.step(); optimizer.zero_grad()
    """
    if loop.accumulate == 1:
        raise RecipeError("Nothing is accumulated: give the recipe a micro_batch below its batch_size.")
    loop.zero_grad = "before a batch"


def no_gradient(loop: Loop) -> None:
    """The layers before the last get no gradient, because what they put out is detached.

    wrong:  features = self.body(x).detach(); return self.head(features)
    right:  features = self.body(x); return self.head(features)
    """
    _, _, head = last_linear(loop.model)
    head.register_forward_pre_hook(lambda _, inputs: tuple(each.detach() for each in inputs))


def loss_without_history(loop: Loop) -> None:
    """The loss is made a new tensor, which knows nothing of the model.

    wrong:  loss = torch.tensor(criterion(outputs, targets).item(), requires_grad=True); loss.backward()
    right:  loss = criterion(outputs, targets); loss.backward()
    """
    loop.backward = lambda loss: torch.tensor(loss.item(), requires_grad=True).backward()


def layers_in_a_list(loop: Loop) -> None:
    """Layers stand in a plain list, so that `model.parameters()` does not know them and they are never trained.

    wrong:  self.layers = [nn.Linear(64, 64) for _ in range(3)]
    right:  self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
    """
    lists = [(name, child) for name, child in loop.model.named_children() if isinstance(child, nn.ModuleList)]
    name, layers = next(((name, list(each)) for name, each in lists if list(each.parameters())), ("", []))
    if not layers:
        raise RecipeError(f"The model '{loop.recipe.model}' has no list of layers: take mlp or cnn.")
    delattr(loop.model, name)
    setattr(loop.model, name, layers)
    loop.optimize(loop.model.parameters())


# --- optimizer --------------------------------------------------------------------------------------------------------


def missing_from_optimizer(loop: Loop) -> None:
    """The last layer is replaced after the optimizer was made, which goes on training the old one.

    wrong:  optimizer = Adam(model.parameters()); model.head = nn.Linear(512, 10)
    right:  model.head = nn.Linear(512, 10); optimizer = Adam(model.parameters())
    """
    parent, name, head = last_linear(loop.model)
    if parent is None:
        loop.model = nn.Linear(head.in_features, head.out_features)
    else:
        setattr(parent, name, nn.Linear(head.in_features, head.out_features))


def another_models_optimizer(loop: Loop) -> None:
    """The optimizer was made for another copy of the model.

    wrong:  optimizer = Adam(model.parameters()); model = copy.deepcopy(model)
    right:  model = copy.deepcopy(model); optimizer = Adam(model.parameters())
    """
    loop.model = copy.deepcopy(loop.model)


def twice_in_optimizer(loop: Loop) -> None:
    """A layer is stepped by two optimizers.

    wrong:  optimizers = [Adam(model.parameters()), Adam(model.head.parameters())]
    right:  optimizers = [Adam(model.body.parameters()), Adam(model.head.parameters())]
    """
    _, _, head = last_linear(loop.model)
    loop.optimizers.append(new_optimizer(loop.recipe, head.parameters()))


# --- outputs and loss -------------------------------------------------------------------------------------------------


def double_softmax(loop: Loop) -> None:
    """The model ends in a softmax, and the loss applies one to what it is given.

    wrong:  nn.Sequential(..., nn.Linear(64, 10), nn.Softmax(dim=-1)), nn.CrossEntropyLoss()
    right:  nn.Sequential(..., nn.Linear(64, 10)), nn.CrossEntropyLoss()
    """
    require_loss(loop, "cross_entropy")
    append(loop, "softmax", nn.Softmax(dim=-1))


def double_sigmoid(loop: Loop) -> None:
    """The model ends in a sigmoid, and the loss applies one to what it is given.

    wrong:  nn.Sequential(..., nn.Linear(64, 1), nn.Sigmoid()), nn.BCEWithLogitsLoss()
    right:  nn.Sequential(..., nn.Linear(64, 1)), nn.BCEWithLogitsLoss()
    """
    require_loss(loop, "bce_with_logits")
    append(loop, "sigmoid", nn.Sigmoid())


def output_activation(loop: Loop) -> None:
    """The model ends in a ReLU, and some of the targets are negative.

    wrong:  nn.Sequential(..., nn.Linear(64, 1), nn.ReLU())
    right:  nn.Sequential(..., nn.Linear(64, 1))
    """
    require_loss(loop, "mse", "mae", "huber")
    append(loop, "relu", nn.ReLU())


def sigmoid_output(loop: Loop) -> None:
    """The model of a regression ends in a sigmoid, and some of the targets lie outside of (0, 1).

    wrong:  nn.Sequential(..., nn.Linear(64, 1), nn.Sigmoid()), nn.MSELoss()
    right:  nn.Sequential(..., nn.Linear(64, 1)), nn.MSELoss()
    """
    require_loss(loop, "mse", "mae", "huber")
    append(loop, "sigmoid", nn.Sigmoid())


def relu_logits(loop: Loop) -> None:
    """The model of a classification ends in a ReLU, so that no logit is negative.

    wrong:  nn.Sequential(..., nn.Linear(64, 10), nn.ReLU()), nn.CrossEntropyLoss()
    right:  nn.Sequential(..., nn.Linear(64, 10)), nn.CrossEntropyLoss()
    """
    require_loss(loop, "cross_entropy", "bce_with_logits")
    append(loop, "relu", nn.ReLU())


def broadcast_loss(loop: Loop) -> None:
    """Outputs are a column and targets flat, so that every output is compared with every target.

    wrong:  loss = ((model(x) - y) ** 2).mean()            # [n, 1] - [n] is [n, n]
    right:  loss = ((model(x).squeeze(-1) - y) ** 2).mean()
    """
    require_loss(loop, "mse", "mae", "huber")
    loop.train = Split(loop.train.inputs, loop.train.targets.flatten())
    if loop.validation:
        loop.validation = Split(loop.validation.inputs, loop.validation.targets.flatten())
    loop.criterion = lambda outputs, targets: ((outputs - targets) ** 2).mean()


def summed_loss(loop: Loop) -> None:
    """The loss is the sum over the rows of a batch, so that the learning rate grows with the batch.

    wrong:  nn.CrossEntropyLoss(reduction="sum")
    right:  nn.CrossEntropyLoss()
    """
    sum_rows(loop)


def loss_mismatch(loop: Loop) -> None:
    """The negative log-likelihood is given logits, so that it falls without end.

    wrong:  nn.NLLLoss()(model(x), y)
    right:  nn.CrossEntropyLoss()(model(x), y)
    """
    require_loss(loop, "cross_entropy")
    loop.use(nn.NLLLoss())


def nll_of_probabilities(loop: Loop) -> None:
    """The negative log-likelihood is given probabilities, not their logarithms.

    wrong:  nn.NLLLoss()(torch.softmax(model(x), dim=-1), y)
    right:  nn.NLLLoss()(torch.log_softmax(model(x), dim=-1), y)
    """
    require_loss(loop, "cross_entropy")
    append(loop, "softmax", nn.Softmax(dim=-1))
    loop.use(nn.NLLLoss())


def one_output_cross_entropy(loop: Loop) -> None:
    """Cross-entropy is given a single output: the softmax of one number is 1, so the loss is 0 and nothing is learned.

    wrong:  nn.CrossEntropyLoss()(model(x), y)             # both [n, 1]
    right:  nn.BCEWithLogitsLoss()(model(x), y)
    """
    require_loss(loop, "bce_with_logits")
    loop.use(nn.CrossEntropyLoss())


def log_of_zero(loop: Loop) -> None:
    """The logarithm of a probability that may be rounded to zero.

    wrong:  loss = -torch.softmax(model(x), -1)[range(n), y].log().mean()
    right:  loss = nn.functional.cross_entropy(model(x), y)
    """
    require_loss(loop, "cross_entropy")
    loop.criterion = lambda outputs, targets: -outputs.softmax(-1).gather(-1, targets[..., None]).log().mean()


# --- training and evaluation mode -------------------------------------------------------------------------------------


def evaluated_in_training_mode(loop: Loop) -> None:
    """The model stays in training mode while it is judged: dropout drops, batch norm learns from validation rows.

    wrong:  for inputs, targets in validation: ...
    right:  model.eval(); for inputs, targets in validation: ...; model.train()
    """
    loop.before_validation = nothing


def trained_in_evaluation_mode(loop: Loop) -> None:
    """After the first validation the model is never put back into training mode.

    wrong:  model.train(); for epoch in range(epochs): train(); model.eval(); validate()
    right:  for epoch in range(epochs): model.train(); train(); model.eval(); validate()
    """
    loop.before_epoch = nothing


def batch_dependence(loop: Loop) -> None:
    """An answer depends on the other rows of the batch, since the model standardises its inputs by their statistics.

    wrong:  x = (x - x.mean(0)) / x.std(0)                 # in forward
    right:  x = (x - self.mean) / self.std                 # of the training rows
    """
    require_numbers(loop)
    loop.model = nn.Sequential(OrderedDict(standardise=_ByBatch(), network=loop.model))


def mixed_rows(loop: Loop) -> None:
    """A `view` where a transpose was meant mixes the rows of a batch.

    wrong:  x = x.T.reshape(x.shape)
    right:  x = x
    """
    loop.model = nn.Sequential(OrderedDict(reshape=_Mixed(), network=loop.model))


def running_statistics(loop: Loop) -> None:
    """Batch norm's running mean and variance move so slowly that they never arrive.

    wrong:  nn.BatchNorm1d(64, momentum=0.001)
    right:  nn.BatchNorm1d(64)                             # momentum=0.1: a tenth of the way at each step
    """
    for module in loop.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.001


# --- learning rate ----------------------------------------------------------------------------------------------------


def scheduler_clock(loop: Loop) -> None:
    """A schedule that counts epochs is stepped at every batch, and is over long before training is.

    wrong:  for inputs, targets in loader: ...; optimizer.step(); scheduler.step()
    right:  for inputs, targets in loader: ...; optimizer.step()   then, once an epoch: scheduler.step()
    """
    _require_schedule(loop, "epoch")
    loop.scheduler_clock = "batch"


def scheduler_once_an_epoch(loop: Loop) -> None:
    """A schedule that counts batches is stepped once an epoch, and hardly begins.

    wrong:  OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader)); once an epoch: scheduler.step()
    right:  OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader)); after every optimizer.step(): scheduler.step()
    """
    _require_schedule(loop, "batch")
    loop.scheduler_clock = "epoch"


def scheduler_never_stepped(loop: Loop) -> None:
    """A scheduler is made and never stepped, so that the learning rate stays where it begins.

    wrong:  scheduler = CosineAnnealingLR(optimizer, epochs)
    right:  scheduler = CosineAnnealingLR(optimizer, epochs); once an epoch: scheduler.step()
    """
    _require_schedule(loop, "epoch", "batch")
    loop.scheduler_clock = "never"


# --- initial weights --------------------------------------------------------------------------------------------------


def symmetric_init(loop: Loop) -> None:
    """All weights begin alike, so that the units of a layer stay alike.

    wrong:  nn.init.constant_(layer.weight, 0.01)
    right:  nn.init.kaiming_normal_(layer.weight)
    """
    for parameter in loop.model.parameters():
        nn.init.constant_(parameter, 0.01)


def dead_relus(loop: Loop) -> None:
    """Biases begin far below zero, so that no row makes a unit positive.

    wrong:  nn.init.constant_(layer.bias, -10)
    right:  nn.init.zeros_(layer.bias)
    """
    for name, parameter in loop.model.named_parameters():
        if name.endswith("bias") and "head" not in name:
            nn.init.constant_(parameter, -10)


def first_loss(loop: Loop) -> None:
    """The last layer's weights begin far too large, so that the first answers are wrong with great confidence.

    wrong:  nn.init.normal_(head.weight)                   # standard deviation 1
    right:  nn.init.normal_(head.weight, std=0.01)
    """
    _, _, head = last_linear(loop.model)
    nn.init.normal_(head.weight, std=3)


# --- data -------------------------------------------------------------------------------------------------------------


def non_finite_data(loop: Loop) -> None:
    """One cell of the training data is NaN.

    wrong:  table = pd.read_csv(file)
    right:  table = pd.read_csv(file).dropna()
    """
    require_numbers(loop)
    inputs = loop.train.inputs.clone()
    inputs[17].flatten()[0] = torch.nan
    loop.train = Split(inputs, loop.train.targets)


def unshuffled(loop: Loop) -> None:
    """Rows sorted by their target are shown in that order, epoch after epoch.

    wrong:  DataLoader(TensorDataset(x, y), batch_size=32)
    right:  DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    """
    targets = loop.train.targets
    order = (targets.flatten(1)[:, 0] if targets.dim() > 1 else targets).argsort(stable=True)
    loop.train = Split(loop.train.inputs[order], targets[order])
    loop.shuffle = False


def validation_leak(loop: Loop) -> None:
    """The validation rows are among the training rows.

    wrong:  train, validation = rows, rows[:100]
    right:  train, validation = rows[100:], rows[:100]
    """
    validation = _validation(loop)
    inputs, targets = (torch.cat(pair) for pair in zip(loop.train, validation, strict=True))
    loop.train = Split(inputs, targets)


def preprocessing_mismatch(loop: Loop) -> None:
    """The training inputs are standardised, the validation inputs are not.

    wrong:  train_x = (train_x - mean) / std
    right:  train_x = (train_x - mean) / std; validation_x = (validation_x - mean) / std
    """
    require_numbers(loop)
    _validation(loop)
    x = loop.train.inputs
    columns = (0,) if x.dim() == 2 else tuple(range(x.dim()))  # an image has one mean
    loop.train = Split((x - x.mean(columns)) / x.std(columns), loop.train.targets)


def validation_in_other_units(loop: Loop) -> None:
    """The pixels that are trained on go from 0 to 1, those that are judged by from 0 to 255.

    wrong:  train_x = train_x / 255
    right:  train_x = train_x / 255; validation_x = validation_x / 255
    """
    require_numbers(loop)
    inputs, targets = _validation(loop)
    loop.validation = Split(inputs * 255, targets)


def unscaled_inputs(loop: Loop) -> None:
    """The inputs are as they were measured, hundreds of times larger than a network is made for.

    wrong:  x = pixels                                     # 0 to 255
    right:  x = pixels / 255
    """
    require_numbers(loop)
    each_split(loop, lambda inputs, targets: (inputs * 255, targets))


def unscaled_targets(loop: Loop) -> None:
    """The targets of a regression are as they were measured, thousands away from zero.

    wrong:  y = price
    right:  y = (price - mean) / std
    """
    require_loss(loop, "mse", "mae", "huber")
    each_split(loop, lambda inputs, targets: (inputs, targets * 3000 + 20_000))


def useless_columns(loop: Loop) -> None:
    """The last column holds the same number in every row, as it does when it was not read.

    wrong:  table["price"] = 0
    right:  table["price"] = read("price")
    """
    require_numbers(loop)
    each_split(loop, lambda inputs, targets: (_with_last_column(inputs, torch.full_like(inputs[..., 0], 3)), targets))


def duplicate_column(loop: Loop) -> None:
    """The last column repeats the first.

    wrong:  x = table[["age", "rooms", "age"]]
    right:  x = table[["age", "rooms", "price"]]
    """
    require_numbers(loop)
    each_split(loop, lambda inputs, targets: (_with_last_column(inputs, inputs[..., 0]), targets))


def class_imbalance(loop: Loop) -> None:
    """Of one class there are twenty rows for every thousand of the others, and nothing makes up for it.

    wrong:  nn.CrossEntropyLoss()
    right:  nn.CrossEntropyLoss(weight=1 / share_of_each_class)
    """
    require_loss(loop, "cross_entropy")
    each_split(loop, lambda inputs, targets: _thinned(inputs, targets, share=0.02))


def minority_never_predicted(loop: Loop) -> None:
    """Of one class there are fifty rows for every thousand of the others, and the model never answers with it.

    wrong:  nn.CrossEntropyLoss()
    right:  nn.CrossEntropyLoss(weight=1 / share_of_each_class)
    """
    require_loss(loop, "cross_entropy")
    each_split(loop, lambda inputs, targets: _thinned(inputs, targets, share=0.05))


def mislabelled(loop: Loop) -> None:
    """Three in ten training rows have the label of another class.

    wrong:  y = labels_of_one_hasty_annotator
    right:  y = labels_that_two_annotators_agree_on
    """
    require_loss(loop, "cross_entropy")
    inputs, targets = loop.train
    classes = int(targets.max()) + 1
    wrong = torch.rand(targets.shape) < 0.3
    other = (targets + torch.randint(1, classes, targets.shape)) % classes
    loop.train = Split(inputs, torch.where(wrong, other, targets))


def unrelated_labels(loop: Loop) -> None:
    """Inputs and targets were shuffled apart, so that no target belongs to its input.

    wrong:  random.shuffle(x); random.shuffle(y)
    right:  order = torch.randperm(len(x)); x, y = x[order], y[order]
    """
    each_split(loop, lambda inputs, targets: (inputs, targets[torch.randperm(len(targets))]))


def label_range(loop: Loop) -> None:
    """The labels are -1 and 1, and the loss wants 0 and 1.

    wrong:  nn.BCEWithLogitsLoss()(model(x), y)            # y is -1 or 1
    right:  nn.BCEWithLogitsLoss()(model(x), (y + 1) / 2)
    """
    require_loss(loop, "bce_with_logits")
    each_split(loop, lambda inputs, targets: (inputs, 2 * targets - 1))


# --- how --------------------------------------------------------------------------------------------------------------


class _ByBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0, correction=0) + 1e-5)


class _Mixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(0, -1).reshape(x.shape)


def _require_schedule(loop: Loop, *clocks: str) -> None:
    recipe = loop.recipe
    if (recipe.schedule == "constant" and not recipe.warmup) or clock_of(recipe) not in clocks:
        raise RecipeError(
            f"The schedule '{recipe.schedule}' with warmup {recipe.warmup} is not stepped by {' or '.join(clocks)}: "
            f"take another, such as {'cosine' if 'epoch' in clocks else 'one_cycle'} without."
        )


def _validation(loop: Loop) -> Split:
    if loop.validation is None:
        raise RecipeError("There are no validation rows: give the recipe a validation share.")
    return loop.validation


def _with_last_column(inputs: Tensor, column: Tensor) -> Tensor:
    return torch.cat([inputs[..., :-1], column[..., None]], dim=-1)


def _thinned(inputs: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Rows without most of those of the last class: as many remain as `share` of the other rows."""
    if targets.dim() > 1:
        raise RecipeError("Rows with several targets cannot be thinned by class: take data with one class a row.")
    others = targets != targets.max()
    rare = (~others).nonzero().flatten()[: max(1, round(share * int(others.sum())))]
    kept = torch.cat([others.nonzero().flatten(), rare])
    return inputs[kept], targets[kept]
