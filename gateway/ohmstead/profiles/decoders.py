"""Decoders in code, by the name a profile uses: only for what its data cannot say. Each takes the text of the registers."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def mtec_firmware(text: str) -> str:
    """ "27 52 04 00  20 01 10 03" → "V27.52.04.00-V20.01.10.03": the two halves are the versions of two processors."""
    return "-".join(f"V{half.replace(' ', '.')}" for half in text.split("  "))


DECODERS: Mapping[str, Callable[[str], str]] = {"mtec-firmware": mtec_firmware}
