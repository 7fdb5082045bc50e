"""`python -m benchmarks [PAIR ...] [--json]`: measure the named pairs, or all of them."""

import argparse
import json
import os
import sys
from collections.abc import Callable

from benchmarks import ace, counterfactual, intervention, maps, purification, sweep
from benchmarks.measure import Comparison, sentence
from causalnb import UserError


def pairs() -> dict[str, Callable[[], Comparison]]:
    """Every pair by name. Those of attacks and adversarial training need foolbox, and are left out with a
    sentence where it cannot be had.
    """
    own = (ace, maps, counterfactual, intervention, purification, sweep)
    known = {name: pair for module in own for name, pair in module.PAIRS.items()}
    try:
        from benchmarks import alignment, attacks
    except ImportError as error:
        print(f"The pairs of the attacks are left out: {error}.", file=sys.stderr)
        return known
    return {**known, **attacks.PAIRS, **alignment.PAIRS}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 for a pair that does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ours against other ways, side by side: how many times less it costs.",
    )
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help="all pairs by default")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("CAUSALNB_QUIET", "1")  # a progress bar costs time too
    known = pairs()
    if unknown := [name for name in chosen.pairs if name not in known]:
        print(f"{unknown[0]} is not a pair: choose from {', '.join(known)}.", file=sys.stderr)
        return 1
    for name in chosen.pairs or known:
        try:
            result = known[name]()
        except UserError as error:  # data that are not at hand
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        print(json.dumps(result) if chosen.json else sentence(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
