"""Chapter 3: adversarial intervention (Coppola & Lee 2024)."""
