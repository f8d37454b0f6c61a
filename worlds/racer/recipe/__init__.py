"""How the racer world was trained: data and export; the training itself is `nextframe.tools.train.pixels`."""
