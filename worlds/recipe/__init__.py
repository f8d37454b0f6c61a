"""What the recipes of all worlds share: training runs, measures, gates."""
