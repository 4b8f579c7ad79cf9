"""Sigmoid or tanh units sit at their bounds, where they hardly react to anything.

A sigmoid or a tanh is flat at both ends: where its output is within half a percent of a bound its slope is below 2 % of
the largest, so hardly any gradient goes back, and the unit puts out the same for most inputs. Units are driven there by
inputs that are not scaled, by weights that begin too large, and by steps that are too long. Layers that begin there
stay as they were drawn, and only what comes after them learns.

Some saturation is what training does: a unit that is sure is saturated. Trained networks that fit have up to 40 % of a
layer's outputs at their bounds, but began with none. It is a problem where most of a layer is, or was from the start.
"""

from __future__ import annotations

from typing import Final

from descend.doctor._chart import Chart
from descend.doctor._check import Check, Evidence, Example, Finding, Remedy, Unknown
from descend.doctor._signals import (
    BORN,
    LEARNS_NOTHING,
    SATURATED,
    percent,
    progress,
    remedy,
    saturated,
    since_below,
    slower,
)
from descend.doctor._training import small
from descend.run import Series

MEASURED: Final = 5  # measurements

LEFT: Final = 0.25  # of the loss of guessing: networks that learned to be sure have 0.11 and less
LEFT_BORN: Final = 0.02  # where it was so from the start: then what is learned, is learned by the last layer


def look(chart: Chart) -> Finding | Unknown | None:
    layers = chart.layers("saturation")
    gone = progress(chart)
    if not layers and chart.names:
        return None  # neither sigmoid nor tanh
    if gone is None or not any(len(series.y) >= MEASURED for series in layers.values()):
        return Unknown(f"{MEASURED} measurements of a sigmoid or tanh layer")
    shares = saturated(chart)
    if not shares:
        return None
    place = max(shares, key=lambda each: shares[each])
    share, series = shares[place], layers[place]
    born = bool(series.y[0] > BORN)
    if gone.end < (LEFT_BORN if born else LEFT) or (
        not born and small(chart)
    ):  # a few units must be sure: underfitting
        return None
    return Finding(
        f"{percent(share)} of the outputs of {place} are saturated{' from the start' * born}: so near their bounds "
        f"that hardly any gradient passes, and {gone.says}.",
        (
            Evidence(
                f"saturation/{place}",
                share,
                BORN if born else SATURATED,
                f"{percent(share)} of the outputs of {place} have a slope below 2 % of the largest.",
            ),
            Evidence(gone.series, gone.end, LEFT_BORN if born else LEFT, f"{gone.says}.".capitalize()),
        ),
        sure=0.85 if born or gone.end > 0.9 else 0.75,
        where=place,
        since=since_below(Series(series.x, -series.y), -BORN),
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
    return (glorot if born else slower(chart, 10.0), norm)


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
    explains=LEARNS_NOTHING | {"deaf_network", "first_loss"},
)
