"""One contract for every attack: `run` attacks a batch and says, image by image, what was found.

What stands here: `fgsm`, `pgd` (foolbox, L-inf and L2), `cw` (foolbox, L2, minimum norm), and `noise`, the placebo.
What does not: attacks without gradients, attacks that average over a random model's draws, attacks on a detector or on
anything behind the model, L0 and L1, 8-bit images, boxes other than [0, 1]. A model that these attacks do not break is
therefore not shown to be robust. Results belong to an image alone, whatever its batch, for models that are
deterministic and treat images one by one; on a GPU that holds up to the rounding of its kernels.
"""

from causalnb.attacks.contract import ATTACKS, AttackResult, run
from causalnb.attacks.noise import noise

__all__ = ["ATTACKS", "AttackResult", "noise", "run"]
