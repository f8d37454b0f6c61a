"""Programs around the engine: data, training, evaluation, benchmarks. May import anything."""
