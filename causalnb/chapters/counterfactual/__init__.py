"""Chapter 2: counterfactual information of filters (Debbi 2024, CausAdv)."""
