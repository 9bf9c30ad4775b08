"""Operations that a GON differentiates twice, fast on CPUs: products, transposed convolutions, activations, sines."""
