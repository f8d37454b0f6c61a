"""The keep learned from pixels by the general recipe: a study that did not ship."""
