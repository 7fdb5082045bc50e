"""The control flow of the released evaluation script (commit 53b36c4, inference_causal_purify inside
AutoAttack), rebuilt on our model to see what its attack can see. No line of it is theirs, and their
checkpoint was not run.

Two paths: with gradients on, as the attack asks, the purifier's change is not clamped and the latents take
sign steps; with gradients off, as the verdict asks, it is clamped and Adam searches the latents.
"""

from functools import partial

import torch
from torch import Tensor, nn

from causalnb.chapters.purification import diffusion
from causalnb.chapters.purification.network import CausalDiffusion
from causalnb.chapters.purification.unrolled import pull

STEPS, LATEST, STEP, CLAMP = 5, 50, 0.1, 16 / 255  # on the scale of [-1, 1]
SEARCHES, STEEP, DEFAULT = 10, 1e5, 5e-2  # latent steps of the script, and of its configuration
ATTACKED_TIMES, JUDGED_TIMES = tuple(range(0, 200, 20)), tuple(range(0, 900, 90))


class Released(nn.Module):
    """Images in [0, 1] to probabilities, by one path or the other as the global gradient mode says.

    rate    of the latent steps
    clamp   of the purifier's change in the judged path, on the scale of [-1, 1]
    step    of the purifier
    """

    def __init__(
        self, model: CausalDiffusion, *, rate: float = STEEP, clamp: float = CLAMP, step: float = STEP
    ) -> None:
        """The model stays as it is."""
        super().__init__()
        self.model, self.rate, self.clamp, self.step = model, rate, clamp, step

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities [n, classes], drawn anew at every call."""
        if torch.is_grad_enabled() and images.requires_grad:
            return self.attacked(images)
        return self.judged(images)

    def attacked(self, images: Tensor) -> Tensor:
        """The path that first-order attacks differentiate."""
        x = self._purified(2 * images - 1, None)
        mean, log_variance = self.model.posterior(x)
        latents = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        for _ in range(SEARCHES):
            slope = pull(lambda at: _error(self.model, x.detach(), at, ATTACKED_TIMES), latents.detach())
            latents = latents - self.rate * slope.sign()
        return self.model.classify(latents).softmax(1)

    def judged(self, images: Tensor) -> Tensor:
        """The path that decides robustness."""
        x = self._purified(2 * images - 1, self.clamp)
        mean, log_variance = self.model.posterior(x)
        latents = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.model.classify(searched(self.model, x, latents, rate=self.rate)).softmax(1)

    def _purified(self, x: Tensor, clamp: float | None) -> Tensor:
        change, momentum = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(STEPS):
            t = torch.randint(LATEST, (len(x),), device=x.device)
            noise = torch.randn_like(x)
            error = partial(diffusion.noise_error, self.model.noise, t=t, noise=noise)
            slope = pull(error, (x - change).detach())
            momentum = momentum + slope / slope.abs().sum().clamp_min(1e-30)  # of the whole batch
            change = change + self.step * momentum.sign()
            change = change if clamp is None else change.clamp(-clamp, clamp)
        return (x - change).clamp(-1, 1)


def searched(model: CausalDiffusion, x: Tensor, latents: Tensor, *, rate: float) -> Tensor:
    """The search as it stands there: the loss is computed with gradients on and divided outside, where the
    mode of the caller decides whether that leaves a graph.
    """
    latents = latents.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([latents], lr=rate)
    for _ in range(SEARCHES):
        optimiser.zero_grad()
        with torch.enable_grad():
            loss = _error(model, x.detach(), latents, JUDGED_TIMES).mean()
        loss = loss / len(JUDGED_TIMES)
        if not loss.requires_grad:
            loss.requires_grad_()
        loss.backward()
        optimiser.step()
    return latents.detach()


def _error(model: CausalDiffusion, x: Tensor, latents: Tensor, times: tuple[int, ...]) -> Tensor:
    each = []
    for time in times:
        t = torch.full((len(x),), time, device=x.device)
        each.append(diffusion.noise_error(model.noise, x, t, torch.randn_like(x), latents))
    return torch.stack(each).sum(0)
