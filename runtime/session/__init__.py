"""The composition root: puts worlds, loop, controllers, displays and instruments together."""
