"""Chapter 4: adversarial training that aligns label and style (Zhang et al. 2022, CausalAdv)."""
