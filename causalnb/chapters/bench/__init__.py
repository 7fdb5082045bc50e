"""Chapter 0: how we attack, and what makes an attack's number believable."""
