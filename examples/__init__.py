"""Files for `gon --import`: how gon_jax is extended, by example."""
