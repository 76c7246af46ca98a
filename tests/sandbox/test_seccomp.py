"""The filter in two parts answers every call as the whole one does. A small interpreter runs the programs."""

from __future__ import annotations

import itertools
import os
import struct

import pytest

from sandbox import seccomp
from sandbox.seccomp import Variant

NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}[os.uname().machine]
FOREIGN = 0x40000003  # i386
ALLOW, KILL = 0x7FFF0000, 0x80000000
STRICTNESS = {0x8000: 0, 0x0000: 1, 0x0003: 2, 0x0005: 3, 0x7FFF: 4}
"""Upper half of an answer -> its rank: the kernel takes the strictest of all filters."""
# Interesting first, second, third and fourth arguments: masks, flags, and high bits that a filter may miss.
ARGUMENTS = [
    (0, 0, 0, 0),
    (1, 1, 1, 1),
    (4, 0x5412, 0, 0x21),
    (22, 0x541C, 5, 0x20),
    (0x10000, 1033, 0, 2),
    (0x10000000, 1 << 32 | 0x5412, 1 << 40, 0),
    (1 << 32 | 22, 0x5401, 0, 0x22),
    (38, 3, 1 << 33, 1),
]


def answer(program: bytes, call: int, arch: int, arguments: tuple[int, ...]) -> int:
    """What the filter says: the classic BPF that libseccomp makes uses these instructions only."""
    data = struct.pack("<iIQ6Q", call, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = counter = 0
    while True:
        op, yes, no, k = code[counter]
        counter += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            counter += k
        elif op in (0x15, 0x25, 0x35, 0x45):
            taken = {
                0x15: accumulator == k,
                0x25: accumulator > k,
                0x35: accumulator >= k,
                0x45: accumulator & k,
            }
            counter += yes if taken[op] else no
        elif op == 0x06:
            return k
        else:
            raise AssertionError(f"an instruction that libseccomp did not use before: {op:#x}")


@pytest.mark.parametrize(
    "variant", [Variant(), Variant(programs=True), Variant(programs=True, shared_memory=False)]
)
def test_two_parts_answer_as_the_whole(variant: Variant) -> None:
    whole = seccomp.program(variant)
    worn, added = seccomp.programs(variant)
    differing, answers = [], set()
    for call, arguments in itertools.product([*range(470), (1 << 30) + 39, 9999], ARGUMENTS):
        for arch in (NATIVE, FOREIGN):
            alone = answer(whole, call, arch, arguments)
            both = min(
                (answer(part, call, arch, arguments) for part in (worn, added)),
                key=lambda one: STRICTNESS[one >> 16],
            )
            answers.add(alone >> 16)
            if both != alone:
                differing.append((call, hex(arch), arguments, hex(alone), hex(both)))
    assert not differing, differing[:5]
    assert {ALLOW >> 16, KILL >> 16, 0x0005} <= answers
    assert len(added) < len(whole) / 5


def test_what_the_zygote_may_call_a_child_may_not() -> None:
    worn, added = seccomp.programs(Variant())
    opened = [
        call
        for call in range(470)
        if answer(worn, call, NATIVE, (0,)) == ALLOW != answer(added, call, NATIVE, (0,))
    ]
    assert len(opened) == len([name for name in seccomp.SET_UP if name not in seccomp.ALLOWED])


def test_a_reduced_jail_has_one_filter_for_its_children() -> None:
    variant = Variant(reduced=True, abi=6)
    assert seccomp.programs(variant) == (seccomp.program(variant),)
