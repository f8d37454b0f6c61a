"""One suite per interface: a new implementation passes all of it by overriding one method."""
