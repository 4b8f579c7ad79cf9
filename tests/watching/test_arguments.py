"""What `watch` and `preflight` are given is looked at before anything begins."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from descend.errors import DescendError
from descend.watching._arguments import require

MODEL = nn.Linear(2, 1)
ADAM = torch.optim.Adam(MODEL.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([list(MODEL.parameters())], [ADAM]), "The model is of type list, but must be a torch.nn.Module"),
        (([MODEL], ["adam"]), "The optimizer is of type str, but must be a torch.optim.Optimizer that was made"),
        (([MODEL], [torch.optim.Adam]), "The optimizer is the class Adam"),
        (([MODEL], [ADAM], nn.MSELoss), "The loss is the class MSELoss.*with its brackets"),
        (([MODEL], [ADAM], "mse"), "The loss is of type str"),
        (([MODEL], [ADAM], None, "cosine"), "The scheduler is of type str"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_give_instead(arguments, message):
    with pytest.raises(DescendError, match=message):
        require(*arguments)


def test_what_is_right_passes():
    schedulers = [torch.optim.lr_scheduler.StepLR(ADAM, 1), torch.optim.lr_scheduler.ReduceLROnPlateau(ADAM)]
    for scheduler in schedulers:
        require([MODEL], [ADAM], nn.functional.mse_loss, scheduler)
