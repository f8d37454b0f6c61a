"""`import nextframe`: the public face. Installed as the package `nextframe` itself; everything else is below it."""
