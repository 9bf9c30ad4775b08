"""The sides that are compared: their names, the options of PyTorch's, and which of them are published of a case.

A side is a base and options, joined by plus signs: "torch-eager+channels-last+fused".
"""

NAMES = {
    "torch-eager": "PyTorch, the authors' algorithm",
    "torch-compiled": "PyTorch compiled",
    "torch-compiled-shared": "PyTorch compiled, our algebra",
    "torch-frozen": "PyTorch, frozen",
    "jax-plain": "plain JAX",
    "jax-definition": "gon_jax, by definition",
    "jax-fast": "gon_jax",
    "jax-decoder": "the decoder alone, latents given",
    "jax-frozen": "gon_jax, frozen",
}
OPTIONS = {  # words, the bases that have the option, and the kinds of cases
    "channels-last": ("channels last", ("torch-eager", "torch-compiled", "torch-compiled-shared"), ("conv", "vgon")),
    "fused": ("fused Adam", ("torch-eager",), ("conv", "vgon", "siren")),
    "onednn": ("oneDNN linear layers", ("torch-eager", "torch-compiled", "torch-compiled-shared"), ("siren",)),
    "max-autotune": ("max-autotune", ("torch-compiled", "torch-compiled-shared"), ("conv", "vgon", "siren")),
    "allocator": (
        "memory kept by malloc",
        ("torch-eager", "torch-compiled", "torch-compiled-shared"),
        ("conv", "vgon", "siren"),
    ),
}
# glibc gives large blocks back to the system when they are freed, and every next one is new pages: these keep them.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}

ALONE = "jax-decoder"  # trains without an encoder: what a step costs at least; its losses agree with nobody's
BASES = {  # of a task, in the order of the tables; the first is what the others must agree with
    "train": (
        "torch-eager",
        "torch-compiled",
        "torch-compiled-shared",
        "jax-plain",
        "jax-definition",
        "jax-fast",
        ALONE,
    ),
    "encode": tuple(name for name in NAMES if name != ALONE),
}
QUICK = ("torch-eager", "torch-compiled", "jax-plain", "jax-definition", "jax-fast", ALONE)
FULL = ("torch-eager", "torch-compiled", "torch-compiled-shared", "jax-definition", "jax-fast", ALONE)
GROWTH = ("torch-eager", "jax-fast", ALONE)


def _tuned(own: str) -> tuple[str, ...]:
    """Return all sides of training, with the option that suits this kind's products alone and with all others."""
    eager = ("", f"+{own}", "+fused", "+allocator", f"+{own}+fused+allocator")
    compiled = ("", f"+{own}", "+max-autotune", "+allocator", f"+{own}+max-autotune+allocator")
    return (
        *(f"torch-eager{options}" for options in eager),
        *(f"torch-compiled{options}" for options in compiled),
        *(f"torch-compiled-shared{options}" for options in ("", f"+{own}+allocator", f"+{own}+max-autotune+allocator")),
        *("jax-plain", "jax-definition", "jax-fast", ALONE),
    )


TUNED = {  # of the kinds of cases
    "conv": _tuned("channels-last"),
    "siren": _tuned("onednn"),
    "vgon": tuple(side for side in _tuned("channels-last") if not side.startswith("torch-compiled-shared")),
}


def split(side: str) -> tuple[str, frozenset[str]]:
    """Return base and options of a side; what follows an @ is the commit that it is of.

    >>> split("torch-eager+fused@1a2b3c4")
    ('torch-eager', frozenset({'fused'}))
    """
    base, *options = side.partition("@")[0].split("+")
    return base, frozenset(options)


def words(side: str) -> str:
    """Return what tables call a side.

    >>> words("torch-eager+channels-last+fused")
    "PyTorch, the authors' algorithm, channels last, fused Adam"
    """
    base, *options = side.partition("@")[0].split("+")
    return ", ".join([NAMES[base], *(OPTIONS[option][0] for option in options)])


def environment(side: str) -> dict[str, str]:
    """Return the variables of the environment that a side's process needs."""
    return KEEP_MEMORY if "allocator" in split(side)[1] else {}


def admitted(task: str, case, sides) -> tuple[str, ...]:
    """Return the sides, without those that are another under a second name.

    With noise of its own no example of a variational GON is fast, and PyTorch has no fast form of it.

    Raises:
        ValueError: for sides that a task or a case does not have.
    """
    for side in sides:
        base, options = split(side)
        if base not in BASES[task]:
            raise ValueError(f"expected sides of {', '.join(BASES[task])} for this task, got {side}")
        for option in options:
            _, bases, kinds = OPTIONS.get(option, ("", (), ()))
            if base not in bases or case.kind not in kinds:
                known = [name for name, (_, bases, kinds) in OPTIONS.items() if base in bases and case.kind in kinds]
                raise ValueError(
                    f"expected options of {base} for {case.name} among {', '.join(known) or 'none'}, got {option}"
                )
    if case.kind != "vgon":
        return tuple(sides)
    others = ("torch-compiled-shared", *([] if case.shared_noise else ["jax-fast"]))
    return tuple(side for side in sides if split(side)[0] not in others)
