"""A loop of optimisation steps that can be differentiated in the memory of one step.

Backward through a loop that itself takes gradients keeps every step's graph twice over. Here the states are
kept and each step is computed again when its turn comes (reverse accumulation with checkpoints; Griewank &
Walther 2000): the same gradient for one more pass over the steps.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[int, Tensor, State], State]


def pull(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The gradient of the sum of a function [n] at a point; it has a gradient of its own where gradients are
    on and the point asks for one. It works where they are off.
    """
    kept = torch.is_grad_enabled() and at.requires_grad
    with torch.enable_grad():
        point = at if kept else at.detach().requires_grad_()
        [gradient] = torch.autograd.grad(function(point).sum(), point, create_graph=kept)
    return gradient


def unrolled(step: Step, count: int, x: Tensor, state: State, *, bounded: bool = True) -> State:
    """The state after `count` steps (number, x, state) -> state.

    A step is a function of its arguments alone: what it draws was drawn before. The gradient reaches x and
    the first state, and nothing else, such as the parameters of a model.

    bounded   states alone are kept for the gradient; without it everything is
    """
    if bounded and torch.is_grad_enabled() and (x.requires_grad or any(one.requires_grad for one in state)):
        found: State = _Kept.apply(step, count, x, *state)
        return found
    for number in range(count):
        state = step(number, x, state)
    return state


class _Kept(torch.autograd.Function):
    """Forward without a graph, states kept; backward step by step, each computed again."""

    @staticmethod
    def forward(ctx: Any, step: Step, count: int, x: Tensor, *state: Tensor) -> State:
        states = [state]
        for number in range(count):
            states.append(step(number, x, states[-1]))
        ctx.step, ctx.count, ctx.width = step, count, len(state)
        ctx.save_for_backward(x, *(one for each in states[:-1] for one in each))
        return states[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *flat = ctx.saved_tensors
        total = torch.zeros_like(x)
        for number in reversed(range(ctx.count)):
            before = flat[number * ctx.width : (number + 1) * ctx.width]
            with torch.enable_grad():
                here = x.detach().requires_grad_()
                start = tuple(one.detach().requires_grad_() for one in before)
                after = ctx.step(number, here, start)
            wanted = torch.autograd.grad(after, (here, *start), gradients, allow_unused=True)
            total += 0 if wanted[0] is None else wanted[0]
            gradients = tuple(
                torch.zeros_like(one) if found is None else found
                for one, found in zip(start, wanted[1:], strict=True)
            )
        return None, None, total, *gradients
