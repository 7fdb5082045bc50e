"""The four causal graphs of figures_17_1 as captioned, and what they say about independence.

A graph is a set of arrows (cause, effect).
"""

from torch import Tensor

Graph = frozenset[tuple[str, str]]

CAPTIONED: dict[str, Graph] = {
    "a": frozenset({("V", "X"), ("V", "Y")}),
    "b": frozenset({("V", "X"), ("X", "Y")}),
    "c": frozenset({("V", "X"), ("V", "Y")}),
    "d": frozenset({("S", "X"), ("Z", "X"), ("S", "Y")}),
}
OBSERVED = {"X", "Y"}


def nodes(graph: Graph) -> set[str]:
    """All that the arrows touch."""
    return {node for arrow in graph for node in arrow}


def parents(graph: Graph, node: str) -> set[str]:
    """The direct causes of a node."""
    return {cause for cause, effect in graph if effect == node}


def separated(graph: Graph, first: str, second: str, given: frozenset[str] = frozenset()) -> bool:
    """Whether the graph makes two nodes independent given others (d-separation): in the moral graph of their
    ancestors no path avoids what is given (Lauritzen et al. 1990).

    >>> separated(CAPTIONED["d"], "S", "Z"), separated(CAPTIONED["d"], "S", "Z", frozenset({"X"}))
    (True, False)
    """
    kept = {first, second, *given}
    while more := {cause for node in kept for cause in parents(graph, node)} - kept:
        kept |= more
    joined = {frozenset(arrow) for arrow in graph if set(arrow) <= kept}
    joined |= {
        frozenset({one, other})
        for node in kept
        for one in parents(graph, node)
        for other in parents(graph, node)
        if one != other
    }
    reached = {first}
    while more := {node for edge in joined if edge & reached for node in edge if node not in given} - reached:
        reached |= more
    return second not in reached


def independent_causes(graph: Graph) -> set[frozenset[str]]:
    """Pairs of latent causes of X that are independent, and dependent once X is known."""
    latent = sorted(parents(graph, "X") - OBSERVED)
    return {
        frozenset({one, other})
        for one in latent
        for other in latent
        if one < other and separated(graph, one, other) and not separated(graph, one, other, frozenset({"X"}))
    }


def partial_correlation(covariance: Tensor) -> float:
    """The correlation of the first two of three Gaussian variables given the third.

    >>> import torch
    >>> round(partial_correlation(torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 1, 3]]).double()), 3)
    -0.5
    """
    left = covariance[:2, :2] - covariance[:2, 2:] @ covariance[2:, :2] / covariance[2, 2]
    return float(left[0, 1] / (left[0, 0] * left[1, 1]).sqrt())
