"""What the property tests draw from."""

from __future__ import annotations

from hypothesis import strategies as st

from ohmcore.kinds import WORDS

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.sampled_from(
        [edge + step for edge in (0, -32, 128, -128, 256, 1 << 15, 1 << 16, 1 << 31, 1 << 32, -(1 << 31)) for step in (-1, 0, 1)]
    )
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=300)
)
keys = st.text(max_size=12) | st.integers(-(1 << 63), (1 << 64) - 1)
messages = st.recursive(scalars, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(keys, inner, max_size=18), max_leaves=60)
"""Everything MessagePack can say and ohmcore reads."""
without_maps = st.recursive(scalars, lambda inner: st.lists(inner, max_size=20), max_leaves=60)

kinds = st.sampled_from(sorted(WORDS))
orders = st.sampled_from(["big", "little"])


def depth(value: object) -> int:
    """How many arrays and maps lie within each other."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def items(value: object) -> int:
    """How many values a message has, keys included."""
    if isinstance(value, dict):
        return 1 + sum(1 + items(inner) for inner in value.values())
    if isinstance(value, list):
        return 1 + sum(map(items, value))
    return 1
