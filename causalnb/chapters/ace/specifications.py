"""The readings of "the causal effect map of an image" that the paper's text allows, each with the words that
allow it, and the maps beside them that no sentence allows. Listed before the run that judges them.
"""

from dataclasses import dataclass
from typing import Literal

Needs = Literal["table", "class tables", "own table", "taylor", "forwards", "gradient", "decoder"]


@dataclass(frozen=True)
class Reading:
    """What a map of one image shows: its formula, with T[p, a] = E[f | do(x_p = a)], and what it is computed
    from.

    words, place    the words that allow it, and where they stand in Guo et al. 2024; of a comparison the
                    source
    rows, baseline  two of its decisions, in words: over which inputs the expectation goes, against what
    """

    formula: str
    needs: Needs
    words: str
    place: str
    rows: str = ""
    baseline: str = ""


READINGS = {
    "R1": Reading(
        "T[p, x_p] - mean over a of T[p, a], rows = training images",
        "table",
        "sampling all other input features from the empirical distribution",
        "III-B2 P2, Eqs 2 to 4",
        "training",
        "mean over α",
    ),
    "R1c": Reading(
        "R1, rows = training images of the map's class",
        "class tables",
        "controlling for other factors that may influence the outcome",
        "III-B1 P4",
        "class",
        "mean over α",
    ),
    "R1d": Reading(
        "T[p, 1] - T[p, 0]: of the image only its class remains",
        "table",
        "E[y|do(x = 1)] - E[y|do(x = 0)]",
        "III-B1 P4, Eq. 1",
        "training",
        "0 against 1",
    ),
    "R1e": Reading(
        "T[p, x_p] - E[f], rows = training images",
        "table",
        "under intervention versus no intervention",
        "III-B1 P4",
        "training",
        "no intervention",
    ),
    "R2": Reading(
        "R1 with T by the second-order Taylor formula at the training mean",
        "taylor",
        "to reduce time complexity, the following procedure optimizes the calculation",
        "III-B2 P2, Eqs 7 and 8",
        "Taylor",
        "mean over α",
    ),
    "R3": Reading(
        "f(x) - mean over a of f(x; x_p <- a)",
        "forwards",
        "calculated for each generated adversarial sample",
        "IV-B P1",
        "the image",
        "mean over α",
    ),
    "R3b": Reading(
        "f(x) - f(x; x_p <- 0)",
        "forwards",
        "under intervention versus no intervention",
        "III-B1 P4, of each sample, IV-B P1",
        "the image",
        "black",
    ),
    "R3c": Reading(
        "f(x; x_p <- 1) - f(x; x_p <- 0)",
        "forwards",
        "E[y|do(x = 1)] - E[y|do(x = 0)]",
        "III-B1 P4, Eq. 1, of each sample, IV-B P1",
        "the image",
        "0 against 1",
    ),
    "R3m": Reading(
        "f(x) - f(x; x_p <- the training mean of p)",
        "forwards",
        "the baseline value of x_i is defined as the mean",
        "III-B1 P6, of each sample, IV-B P1",
        "the image",
        "training mean",
    ),
    "R4": Reading(
        "R1, rows = the set that the image belongs to, clean or attacked",
        "own table",
        "calculated for each generated adversarial sample",
        "IV-B P1",
        "its set",
        "mean over α",
    ),
    "R5": Reading(
        "R1, rows = samples of a beta-VAE",
        "table",
        "Since we can obtain a probability model through VAE",
        "III-B3 P3",
        "VAE",
        "mean over α",
    ),
    "R5c": Reading(
        "R1, rows = samples of a beta-VAE with the map's class as their label",
        "class tables",
        "Z is then concatenated with the numerical label",
        "III-B3 P3",
        "VAE",
        "mean over α",
    ),
    "R6": Reading(
        "E[g_p(z, class)] - E[g_p(z, any other class)], g = decoder of a beta-VAE",
        "decoder",
        "passed as inputs to the decoder",
        "III-B3 P3",
        "VAE",
        "other classes",
    ),
    "R12x2": Reading(
        "R3m with blocks of 2 x 2 pixels in place of a pixel",
        "forwards",
        "the number of pixel blocks with positive causal effects",
        "IV-B P3",
        "the image",
        "training mean",
    ),
    "R12x4": Reading(
        "R3m with blocks of 4 x 4 pixels in place of a pixel",
        "forwards",
        "the number of pixel blocks with positive causal effects",
        "IV-B P3",
        "the image",
        "training mean",
    ),
}
COMPARISONS = {  # maps that people use and no sentence of the paper allows
    "R7": Reading("df/dx_p", "gradient", "", "Simonyan, Vedaldi & Zisserman 2014"),
    "R7x": Reading("x_p df/dx_p", "gradient", "", "Shrikumar et al. 2016"),
    "R7c": Reading("(x_p - 1/2) df/dx_p", "gradient", "", "the first-order limit of R3"),
    "R8": Reading(
        "x_p times the mean of df/dx_p from black to x: integrated gradients",
        "gradient",
        "",
        "Sundararajan, Taly & Yan 2017",
    ),
}
FIXED = ("R1d", "R6")  # depend on nothing but the class: of the true class no attack can change them
BLOCKS = (2, 4)
