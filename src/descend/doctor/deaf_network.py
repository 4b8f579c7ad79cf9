"""The network gives the same answer to every input: what tells inputs apart is lost on the way through its layers.

Each layer of a deep network may pass on less of the differences between inputs than it adds of its own, and then the
last layers see only biases. With PyTorch's default initialisation (weights and biases uniform within 1 / sqrt(fan in))
a ReLU layer keeps 0.41 of the differences, so that 20 layers of width 256 leave a ten-millionth, which is the rounding
error of float32. The size of the activations, about 0.03, looks healthy all the way. Weights drawn too small do the
same as soon as the biases have learned anything. No gradient can then tell the first layers which input was which. A
slip in `forward` does it at once: the state at the first position of a sequence, pixels cast to whole numbers.

So the measure is the share of an activation that differs between the inputs of a batch (the standard deviation over
the root mean square), not its size. It is small at the start in networks that learn too, and it is exactly zero where
the last layer begins at zero on purpose: it must stay small. In a stack of sigmoids or tanhs the same is told as
vanishing gradients.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import CERTAIN, Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import LEARNS_NOTHING, SHARE, deaf, late, let_through, progress, since_below, two_digits

STEPS: Final = 100
ROUNDING: Final = 1e-6  # ten times the rounding error of float32: nothing is left
AT_START: Final = 1e-5  # before training: 15 ReLU layers 2e-6, 20 1e-7; 8 layers, which learn, 1e-3
LEFT: Final = 0.9  # of the loss of guessing
AT_ONCE: Final = (
    0.1  # of the layer before, where a slip loses it at once; in too deep networks it fades by 0.41 a layer
)


def look(chart: Chart) -> Finding | Unknown | None:
    if chart.run is None:
        return _before_training(chart)
    layers = {place: series for place, series in chart.layers("input_variance").items() if len(series.y)}
    gone = progress(chart)
    if chart.steps < STEPS or gone is None:
        return Unknown(f"at least {STEPS} steps")
    if "output" not in layers:
        return Unknown("the share of the activations that differs between inputs (the monitor input_variance)")
    shares = {place: late(series) for place, series in layers.items()}
    nothing = shares["output"] < ROUNDING
    if not deaf(chart) or (gone.end < LEFT and not nothing):
        return None
    since = since_below(layers["output"], SHARE)
    begun = "from the first step on" if since == int(layers["output"].x[0]) else f"since step {since:,}"
    places = list(shares)
    place = next(each for each in places if shares[each] < SHARE)
    before = places[places.index(place) - 1] if place != places[0] else None
    own = chart.recipe is None  # a slip in forward is in a loop of one's own; in ours it is the weights
    return Finding(
        f"The network gives the same answer to every input {begun}: of its output only {two_digits(shares['output'])} "
        f"differs from input to input (usual is 0.2 to 1), of {place} {two_digits(shares[place])}, and {gone.says}.",
        (
            Evidence(
                "input_variance/output",
                shares["output"],
                SHARE,
                f"Across a batch of inputs, a share of {two_digits(shares['output'])} of the output differs.",
            ),
            Evidence(gone.series, gone.end, LEFT, f"{gone.says}.".capitalize()),
        ),
        sure=CERTAIN if nothing else 0.85,
        where=place,
        since=since,
        remedies=_at_once(before, place) if before and shares[before] > AT_ONCE and own else let_through(chart),
    )


def _at_once(before: str, place: str) -> tuple[Remedy, ...]:
    return (
        Remedy(
            f"Look at what forward() does between {before}, which tells inputs apart, and {place}, which does not: "
            "does it take the right position of a sequence, are values rounded or overwritten?",
            diff={"self.out(states[:, 0])": "self.out(states[:, -1])"},
        ),
    )


def _before_training(chart: Chart) -> Finding | Unknown | None:
    """What the facts tell: a network that begins deaf may still learn, with luck, if its optimizer is Adam."""
    share = chart.fact("network", "output_variation")
    if share is None:
        return Unknown("some rows to show to the network")
    # a last layer that begins at zero is wanted; batch norm evens things out in training, and here it cannot yet
    if share > AT_START or chart.fact("network", "zero") or chart.fact("network", "normalisation"):
        return None
    return Finding(
        f"The network gives the same answer to every input before training: of its output only {two_digits(share)} "
        "differs from input to input.",
        (
            Evidence(
                "facts/network/output_variation",
                share,
                AT_START,
                f"Over 32 rows {two_digits(share)} of the output differs; of 8 ReLU layers, which learn, 0.001.",
            ),
        ),
        sure=0.75,
        remedies=let_through(chart),
    )


deaf_network = Check(
    look,
    symptom="The loss goes to that of guessing and stays there, while activations and updates look ordinary.",
    sick=Example(data="moons", model="mlp", depth=20, width=32, optimizer="sgd", lr=0.1, steps=200),
    near_miss=Example(data="digits", model="mlp", depth=8, width=32, optimizer="adam", lr=2e-3, steps=300),
    look_alike=(
        "A network of 8 ReLU layers, which begins nearly deaf and learns to hear; a last layer that begins at zero; an "
        "output far from zero, of which little differs."
    ),
    source="Poole et al. 2016 and Schoenholz et al. 2017, Deep Information Propagation: the ordered phase",
    explains=LEARNS_NOTHING,
)
