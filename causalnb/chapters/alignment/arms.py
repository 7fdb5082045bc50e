"""The trainings that the chapter compares, its arms, by name: who attacks whom, and what else they minimise.

`at` is Madry's, `m` and `t` the method as the text has it, the rest their readings and controls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from causalnb import UserError
from causalnb.attacks.adversarial import adversarial
from causalnb.chapters.alignment.objectives import Ball, CausalAdv, HalfHalf, Mart, Released, Trades
from causalnb.training import Loss, cross_entropy

MORE_STEPS = (
    2  # of the attack in `at-longer`: two passes forward and backward, about what M's clean pass costs
)


@dataclass(frozen=True)
class Arm:
    """One training: `title` for tables, `settings` of its objective, `base` the arm that it is held
    against.
    """

    title: str
    objective: Callable[..., Loss]
    settings: Mapping[str, Any]
    base: str = "at"

    @property
    def takes(self) -> tuple[str, ...]:
        """Which of lambda and sigma, "weight" and "sigma", its objective has."""
        return {_aligned: ("weight", "sigma"), _released: ("weight",)}.get(self.objective, ())

    def loss(self, model: nn.Module, ball: Ball, *, epochs: int, seed: int, **changes: Any) -> Loss:
        """A fresh loss for a model; changes: other settings of the objective than the arm's."""
        return self.objective(model, ball, epochs=epochs, seed=seed, **{**self.settings, **changes})


def _madry(model: nn.Module, ball: Ball, *, epochs: int, seed: int, longer: int = 0) -> Loss:
    return adversarial(norm=ball.norm, eps=ball.eps, step=ball.step, steps=ball.steps + longer)


def _standard(model: nn.Module, ball: Ball, *, epochs: int, seed: int) -> Loss:
    return cross_entropy


def _stateless(kind: Callable[..., Loss]) -> Callable[..., Loss]:
    def of(model: nn.Module, ball: Ball, *, epochs: int, seed: int, **settings: Any) -> Loss:
        return kind(ball, **settings)

    return of


def _aligned(model: nn.Module, ball: Ball, *, epochs: int, seed: int, **settings: Any) -> Loss:
    return CausalAdv(model, ball, seed=seed, **settings)


def _released(model: nn.Module, ball: Ball, *, epochs: int, seed: int, **settings: Any) -> Loss:
    return Released(model, ball, ramp=epochs, seed=seed, **settings)


T = {"base": "trades-printed", "weight": 0.5}
ARMS: dict[str, Arm] = {
    "standard": Arm("no attack", _standard, {}),
    "at": Arm("Madry", _madry, {}),
    "at-longer": Arm("Madry, two steps more", _madry, {"longer": MORE_STEPS}),
    "trades": Arm("TRADES", _stateless(Trades), {}),
    "mart": Arm("MART", _stateless(Mart), {}),
    "m": Arm("CausalAdv-M", _aligned, {}),
    "m-i": Arm("CausalAdv-M, W_s by the identity", _aligned, {"seen": "I"}),
    "m-s1": Arm("CausalAdv-M, sigma 1", _aligned, {"sigma": 1.0}),
    "m-nonlinear": Arm("CausalAdv-M, g not linear", _aligned, {"kind": "nonlinear"}),
    "m-code": Arm("CausalAdv-M, as released", _released, {}),
    "t": Arm("CausalAdv-T", _aligned, T, "trades"),
    "t-kl": Arm("CausalAdv-T, tied by KL", _aligned, {"base": "trades", "weight": 0.5}, "trades"),
    "t-one": Arm("CausalAdv-T, gamma 1", _aligned, {**T, "trade": 1.0}, "trades"),
    "t-nonlinear": Arm("CausalAdv-T, g not linear", _aligned, {**T, "kind": "nonlinear"}, "trades"),
    "t-code": Arm("CausalAdv-T, as released", _released, {"base": "trades", "weight": 0.5}, "trades"),
    "hh": Arm("half clean, half attacked", _stateless(HalfHalf), {}),
    "aux": Arm("head on all of r", _aligned, {"seen": "all"}),
    "content": Arm("head on the content", _aligned, {"seen": "content"}),
    "random": Arm("head on a random subspace", _aligned, {"seen": "random"}),
    "labels": Arm("head on permuted labels", _aligned, {"permuted": True}),
    "beta0": Arm("style term on attacked images alone", _aligned, {"beta": 0.0}),
    "adv0": Arm("style term on clean images alone", _aligned, {"attacked": 0.0}),
}
METHODS = {
    "madry": "at",
    "trades": "trades",
    "mart": "mart",
    "half-half": "hh",
    "causaladv-m": "m",
    "causaladv-t": "t",
    "causaladv-m-nonlinear": "m-nonlinear",
    "causaladv-t-nonlinear": "t-nonlinear",
    "causaladv-m-released": "m-code",
    "causaladv-t-released": "t-code",
}


def arm(name: str) -> Arm:
    """An arm by its name, or by the method's."""
    known = METHODS.get(name, name)
    if known not in ARMS:
        raise UserError(f"{name} is no training known here: give one of {', '.join((*METHODS, *ARMS))}.")
    return ARMS[known]
