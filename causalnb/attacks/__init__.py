"""One contract for every attack: `run` attacks a batch and says, image by image, what was found; `evaluate`
runs a suite; `sanity_panel` says whether the numbers are to be believed.

ATTACKS is the table of what there is: foolbox behind `foolbox_adapter`, AutoAttack's parts behind
`autoattack_adapter`, `stadv` our own, `noise` the placebo. What there is not: attacks on a detector or on
anything behind the model, L0 and L1, 8-bit images, boxes other than [0, 1]. Results belong to an image alone,
whatever its batch, for models that are deterministic and treat images one by one (AutoAttack's parts draw for
a batch at once); on a GPU that holds up to the rounding of its kernels.
"""

from causalnb.attacks.adversarial import adversarial, ascend
from causalnb.attacks.ball import pgd_schedule
from causalnb.attacks.contract import ATTACKS, AttackResult, run
from causalnb.attacks.noise import noise
from causalnb.attacks.panel import Panel, sanity_panel
from causalnb.attacks.planted import planted_control
from causalnb.attacks.randomised import Draws, Expectation, Fixed, StraightThrough, Surrogate, rescore
from causalnb.attacks.suites import SUITES, Evaluation, Step, correct, evaluate, worst_case

__all__ = [
    "ATTACKS",
    "SUITES",
    "AttackResult",
    "Draws",
    "Evaluation",
    "Expectation",
    "Fixed",
    "Panel",
    "Step",
    "StraightThrough",
    "Surrogate",
    "adversarial",
    "ascend",
    "correct",
    "evaluate",
    "noise",
    "pgd_schedule",
    "planted_control",
    "rescore",
    "run",
    "sanity_panel",
    "worst_case",
]
