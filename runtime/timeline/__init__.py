"""Going back in time: rewind, branches, save slots, SyncTest."""
