"""Sigmoid or tanh units sit at their bounds, where they hardly react to anything.

A sigmoid or a tanh is flat at both ends: where its output is within half a percent of a bound its slope is below 2 % of
the largest, so hardly any gradient goes back, and the unit puts out the same for most inputs. Units are driven there by
inputs that are not scaled, by weights that begin too large, and by steps that are too long.

Some saturation is what training does: a unit that is sure is saturated. Trained networks that fit have up to 40 % of a
layer's outputs at their bounds. It is a problem where most of a layer is, and little has been learned.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import LEARNS_NOTHING, late, percent, progress, remedy, since_below, slower
from descend.run import Series

MEASURED: Final = 5  # measurements

SHARE: Final = 0.6
"""Of a layer's outputs at their bounds, in the last quarter: sick runs 0.73 to 1, healthy ones 0.4 at most."""

LEFT: Final = 0.25  # of the loss of guessing


def look(chart: Chart) -> Finding | Unknown | None:
    layers = chart.layers("saturation")
    gone = progress(chart)
    if not layers and chart.names:
        return None  # neither sigmoid nor tanh
    if gone is None or not any(len(series.y) >= MEASURED for series in layers.values()):
        return Unknown(f"{MEASURED} measurements of a sigmoid or tanh layer")
    shares = {place: late(series) for place, series in layers.items()}
    place = max(shares, key=lambda each: shares[each])
    if not shares[place] >= SHARE or gone.end < LEFT:
        return None
    series = layers[place]
    since = since_below(Series(series.x, -series.y), -SHARE / 2)
    born = since == int(series.x[0])
    return Finding(
        f"{percent(shares[place])} of the outputs of {place} are saturated{' from the start' * born}: so near their "
        f"bounds that hardly any gradient passes, and {gone.says}.",
        (
            Evidence(
                f"saturation/{place}",
                shares[place],
                SHARE,
                f"{percent(shares[place])} of the outputs of {place} have a slope below 2 % of the largest.",
            ),
            Evidence(gone.series, gone.end, LEFT, f"{gone.says}.".capitalize()),
        ),
        sure=0.85 if gone.end > 0.9 else 0.75,
        where=place,
        since=since,
        remedies=_remedies(chart, born),
    )


def _remedies(chart: Chart, born: bool) -> tuple[Remedy, ...]:
    glorot = remedy(
        chart,
        "Begin with smaller weights (Glorot's initialisation), and scale the inputs to standard deviation 1.",
        "changes the result",
        {"nn.init.normal_(layer.weight)": "nn.init.xavier_normal_(layer.weight)"},
        init="xavier_normal",
    )
    norm = remedy(
        chart,
        "Put a norm before each activation: it brings what goes in back to size one.",
        "changes the result",
        {"nn.Linear(64, 64), nn.Tanh()": "nn.Linear(64, 64), nn.LayerNorm(64), nn.Tanh()"},
        norm="layer",
    )
    return (glorot if born else slower(chart, 10), norm)


saturated_units = Check(
    look,
    symptom="The loss falls very slowly, or stays far above where it should be.",
    sick=Example(
        data="digits",
        model="mlp",
        depth=3,
        activation="tanh",
        init="normal",
        init_std=2.0,
        optimizer="adam",
        lr=1e-3,
        steps=200,
    ),
    near_miss=Example(data="sines", model="mlp", activation="tanh", optimizer="adam", lr=5e-3, steps=800),
    look_alike="Units that are sure of their answer: trained networks have up to 40 % of a layer at its bounds.",
    source="Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward networks, section 3",
    explains=LEARNS_NOTHING | {"vanishing_gradients", "deaf_network"},
)
