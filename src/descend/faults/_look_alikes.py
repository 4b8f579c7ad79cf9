"""Loops that look as if they had a bug, and are right: each changes the ordinary loop as a fault does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from descend.faults._loop import Loop, append, each_split, last_linear, new_optimizer, require_loss, sum_rows


def frozen_body(loop: Loop) -> None:
    """Fine-tuning: all layers but the last are frozen on purpose, and the optimizer has the last one's parameters."""
    _, _, head = last_linear(loop.model)
    loop.model.requires_grad_(False)
    head.requires_grad_(True)
    loop.optimize(head.parameters())


def two_optimizers(loop: Loop) -> None:
    """The last layer has an optimizer of its own, and the other has the rest."""
    _, _, head = last_linear(loop.model)
    own = set(head.parameters())
    loop.optimize(parameter for parameter in loop.model.parameters() if parameter not in own)
    loop.optimizers.append(new_optimizer(loop.recipe, head.parameters()))


def zero_grad_after_step(loop: Loop) -> None:
    """Gradients are set to zero after the step, which is as good as before the next backward pass."""
    loop.zero_grad = "after the step"


def log_softmax_and_nll(loop: Loop) -> None:
    """A model that ends in a log-softmax, and the loss that takes logarithms of probabilities: cross-entropy in two."""
    require_loss(loop, "cross_entropy")
    append(loop, "log_softmax", nn.LogSoftmax(dim=-1))
    loop.use(nn.NLLLoss())


def log_softmax_and_cross_entropy(loop: Loop) -> None:
    """A log-softmax before cross-entropy, which applies one: the second changes nothing, since it finds a sum of 1."""
    require_loss(loop, "cross_entropy")
    append(loop, "log_softmax", nn.LogSoftmax(dim=-1))


def sigmoid_and_bce(loop: Loop) -> None:
    """A model that ends in a sigmoid, and the binary cross-entropy that takes probabilities."""
    require_loss(loop, "bce_with_logits")
    append(loop, "sigmoid", nn.Sigmoid())
    loop.use(nn.BCELoss())


def soft_targets(loop: Loop) -> None:
    """Cross-entropy against probabilities, as in distillation: its targets are floats, and have a column a class."""
    require_loss(loop, "cross_entropy")
    classes = int(loop.train.targets.max()) + 1
    teacher = nn.functional.one_hot
    each_split(loop, lambda inputs, targets: (inputs, 0.9 * teacher(targets, classes) + 0.1 / classes))


def sigmoid_of_shares(loop: Loop) -> None:
    """A regression on shares between 0 and 1, whose model ends in a sigmoid."""
    require_loss(loop, "mse", "mae", "huber")
    low, high = loop.train.targets.min(), loop.train.targets.max()
    each_split(loop, lambda inputs, targets: (inputs, ((targets - low) / (high - low)).clamp(0, 1)))
    append(loop, "sigmoid", nn.Sigmoid())


def relu_of_amounts(loop: Loop) -> None:
    """A regression on amounts that are never negative, whose model ends in a ReLU; its bias begins at their mean."""
    require_loss(loop, "mse", "mae", "huber")
    low = loop.train.targets.min()
    each_split(loop, lambda inputs, targets: (inputs, (targets - low).clamp(min=0)))
    _, _, head = last_linear(loop.model)
    nn.init.constant_(head.bias, float(loop.train.targets.mean()))
    append(loop, "relu", nn.ReLU())


def summed_loss_with_its_rate(loop: Loop) -> None:
    """A loss summed over batches that all have the same size, and a learning rate divided by that size."""
    sum_rows(loop)
    loop.drop_last = True
    for group in loop.optimizers[0].param_groups:
        group["lr"] /= loop.batch_size


def frozen_batch_norm(loop: Loop) -> None:
    """Batch norm stays in evaluation mode while the model trains, as in detection networks with tiny batches.

    Its statistics are those of the training rows, as after pretraining.
    """
    _settle_batch_norm(loop.model, loop.train.inputs)
    loop.before_epoch = _train_all_but_batch_norm


def monte_carlo_dropout(loop: Loop) -> None:
    """Dropout goes on dropping in the author's validation, to see how sure the model is (Gal & Ghahramani 2016)."""
    loop.before_validation = _eval_all_but_dropout


def unused_layer(loop: Loop) -> None:
    """A layer that only another use of the model needs: it gets no gradient, and wants none."""
    _, _, head = last_linear(loop.model)
    loop.model.add_module("auxiliary_head", nn.Linear(head.in_features, head.out_features))
    loop.optimize(loop.model.parameters())


def _settle_batch_norm(model: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad():
        for _ in range(50):  # 0.9**50 = 0.5 % of where the statistics began is left
            model(inputs)


def _train_all_but_batch_norm(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _eval_all_but_dropout(model: nn.Module) -> None:
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
