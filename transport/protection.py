"""Codes that find and repair bit errors: short CRCs, BCH, Golay, interleaving.

Words of bits are integers; the bit that is sent first is the most significant one.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from math import comb
from typing import Final

__all__ = ["BchCode", "Deinterleaver", "Interleaver", "crc_bits", "golay_decode", "golay_encode"]

# Without the leading term: x + 1, then CRC-2 x^2+x+1, GSM-3, ITU-4, USB-5, ITU-6, MMC-7, ATM-8.
_CRC_POLYNOMIALS: Final = (0x0, 0x1, 0x3, 0x3, 0x3, 0x05, 0x03, 0x09, 0x07)
MOST_CRC_BITS: Final = len(_CRC_POLYNOMIALS) - 1


def crc_bits(word: int, *, size: int, check: int) -> int:
    """The remainder in `check` bits (0 to 8) of a word of `size` bits; initial value 0."""
    polynomial = _CRC_POLYNOMIALS[check] | 1 << check
    word <<= check
    for position in range(size + check - 1, check - 1, -1):
        if word >> position & 1:
            word ^= polynomial << position - check
    return word


# Primitive polynomials of the fields GF(2^m), by m: Lin and Costello, Error Control Coding,
# table 2.7.
_PRIMITIVE: Final = {5: 0x25, 6: 0x43, 7: 0x89, 8: 0x11D}


class _Field:
    """GF(2^m) by tables of powers and logarithms of its primitive element."""

    def __init__(self, m: int) -> None:
        self.order = (1 << m) - 1
        self.power = [1] * (2 * self.order)
        for exponent in range(1, 2 * self.order):
            value = self.power[exponent - 1] << 1
            self.power[exponent] = value ^ _PRIMITIVE[m] if value >> m else value
        self.log = [0] * (self.order + 1)
        for exponent in range(self.order):
            self.log[self.power[exponent]] = exponent

    def multiply(self, a: int, b: int) -> int:
        return self.power[self.log[a] + self.log[b]] if a and b else 0

    def divide(self, a: int, b: int) -> int:
        return self.power[self.log[a] - self.log[b] + self.order] if a else 0


@cache
def _field(m: int) -> _Field:
    return _Field(m)


def _generator(field: _Field, errors: int) -> int:
    """Product of the minimal polynomials of the odd powers of the primitive element."""
    product = 1
    done: set[int] = set()
    for odd in range(1, 2 * errors, 2):
        conjugates = []
        root = odd
        while root not in done:
            done.add(root)
            conjugates.append(root)
            root = 2 * root % field.order
        minimal = [1]  # coefficients in the field, lowest first
        for exponent in conjugates:
            shifted = [0, *minimal]
            scaled = [field.multiply(c, field.power[exponent]) for c in minimal] + [0]
            minimal = [a ^ b for a, b in zip(shifted, scaled, strict=True)]
        factor = sum(c << i for i, c in enumerate(minimal))
        product = _carryless(product, factor)
    return product


def _carryless(a: int, b: int) -> int:
    result = 0
    while b:
        if b & 1:
            result ^= a
        a <<= 1
        b >>= 1
    return result


class BchCode:
    """A binary BCH code, systematic and shortened: the message, then its parity bits.

    It repairs up to `errors` wrong bits anywhere. Source: Lin and Costello, chapter 6
    (construction, Berlekamp's algorithm for binary codes, Chien's search).

    message_bits, parity_bits, size: of a word, in bits.

    Raises:
        ValueError: no field here is large enough, or `errors` is below 1.
    """

    def __init__(self, *, message_bits: int, errors: int) -> None:
        m = field_bits(message_bits=message_bits, errors=errors)
        self._field = _field(m)
        generator = _generator(self._field, errors)
        self.errors = errors
        self.message_bits = message_bits
        self.parity_bits = generator.bit_length() - 1
        self.size = message_bits + self.parity_bits
        # The remainder that each bit of a message leaves, least significant bit first.
        self._remainders: list[int] = []
        remainder = generator ^ 1 << self.parity_bits
        for _ in range(message_bits):
            self._remainders.append(remainder)
            remainder <<= 1
            if remainder >> self.parity_bits:
                remainder ^= generator
        self._terms: dict[tuple[int, int], int] = {}

    def _parity(self, message: int) -> int:
        parity = 0
        remainders = self._remainders
        while message:
            low = message & -message
            parity ^= remainders[low.bit_length() - 1]
            message ^= low
        return parity

    def encode(self, message: int) -> int:
        """The word of `size` bits for a message of `message_bits` bits."""
        return message << self.parity_bits | self._parity(message)

    def decode(self, word: int) -> tuple[int, int] | None:
        """The message and how many bits were wrong; None if that were more than `errors`."""
        message = word >> self.parity_bits
        remainder = self._parity(message) ^ word & (1 << self.parity_bits) - 1
        if not remainder:
            return message, 0
        positions = self._locate(self._locator(self._syndromes(remainder)))
        if positions is None:
            return None
        for position in positions:
            word ^= 1 << position
        return word >> self.parity_bits, len(positions)

    def evidence(self, word: int) -> int:
        """How much a word looks like one of the code: log2 of the odds against random bits."""
        decoded = self.decode(word)
        if decoded is None:
            return -4
        near = sum(comb(self.size, wrong) for wrong in range(decoded[1] + 1))
        return self.parity_bits - near.bit_length() + 1

    def _syndromes(self, remainder: int) -> list[int]:
        field = self._field
        positions = [i for i in range(self.parity_bits) if remainder >> i & 1]
        syndromes = [0] * (2 * self.errors)
        for j in range(0, 2 * self.errors, 2):
            value = 0
            for position in positions:
                value ^= field.power[(j + 1) * position % field.order]
            syndromes[j] = value
        for j in range(1, 2 * self.errors, 2):
            half = syndromes[(j - 1) // 2]
            syndromes[j] = field.multiply(half, half)
        return syndromes

    def _locator(self, syndromes: list[int]) -> list[int]:
        """The error locator polynomial, lowest coefficient first (Berlekamp and Massey)."""
        field = self._field
        current, previous = [1], [1]
        length, gap, discrepancy_before = 0, 1, 1
        for step in range(0, 2 * self.errors, 2):  # in binary codes every second one is 0
            discrepancy = syndromes[step]
            for i in range(1, min(length, len(current) - 1) + 1):
                discrepancy ^= field.multiply(current[i], syndromes[step - i])
            if not discrepancy:
                gap += 2
                continue
            factor = field.divide(discrepancy, discrepancy_before)
            updated = current + [0] * (len(previous) + gap - len(current))
            for i, coefficient in enumerate(previous):
                updated[i + gap] ^= field.multiply(factor, coefficient)
            if 2 * length <= step:
                length = step + 1 - length
                previous, discrepancy_before, gap = current, discrepancy, 0
            current = updated
            gap += 2
        while len(current) > 1 and not current[-1]:
            current.pop()
        return current if len(current) - 1 == length else []

    def _locate(self, locator: list[int]) -> list[int] | None:
        """Places of the wrong bits, counted from the last bit sent; None if there are none."""
        field = self._field
        degree = len(locator) - 1
        if not 1 <= degree <= self.errors:
            return None
        values = 0
        for i, coefficient in enumerate(locator):
            if coefficient:
                values ^= self._term(i, field.log[coefficient])
        at_position = values.to_bytes(self.size, "little")
        if at_position.count(0) != degree:
            return None
        positions, position = [], -1
        for _ in range(degree):
            position = at_position.find(0, position + 1)
            positions.append(position)
        return positions

    def _term(self, i: int, log: int) -> int:
        """Term i of a locator at all positions, a byte for each: the search is one XOR of these."""
        term = self._terms.get((i, log))
        if term is None:
            order, power = self._field.order, self._field.power
            values = bytes(power[(log - i * position) % order] for position in range(self.size))
            term = self._terms[i, log] = int.from_bytes(values, "little")
        return term


def field_bits(*, message_bits: int, errors: int) -> int:
    """Parity bits that each repaired error costs: the size m of the field GF(2^m).

    Raises:
        ValueError: no field here is large enough, or `errors` is below 1.
    """
    if errors < 1:
        raise ValueError(f"a code repairs at least one error, not {errors}")
    for m in _PRIMITIVE:
        if message_bits + m * errors < 1 << m:
            return m
    raise ValueError(f"{message_bits} bits with {errors} repaired errors are too many")


_GOLAY_GENERATOR: Final = 0xC75
_GOLAY_PARITY: Final = 11


def _golay_remainder(word: int) -> int:
    """Of a word of 23 bits."""
    for position in range(22, _GOLAY_PARITY - 1, -1):
        if word >> position & 1:
            word ^= _GOLAY_GENERATOR << position - _GOLAY_PARITY
    return word


@cache
def _golay_errors() -> list[int]:
    """The error of up to 3 bits for each remainder: the code is perfect, all 2048 are used."""
    table = [0] * 2048
    single = [1 << i for i in range(23)]
    remainders = [_golay_remainder(bit) for bit in single]
    for i in range(23):
        table[remainders[i]] = single[i]
        for j in range(i):
            table[remainders[i] ^ remainders[j]] = single[i] | single[j]
            for k in range(j):
                errors = single[i] | single[j] | single[k]
                table[remainders[i] ^ remainders[j] ^ remainders[k]] = errors
    return table


@cache
def golay_encode(message: int) -> int:
    """24 bits for 12: the extended Golay code, systematic, a bit of even parity at the end."""
    word = message << _GOLAY_PARITY
    word |= _golay_remainder(word)
    return word << 1 | word.bit_count() & 1


def golay_decode(word: int) -> tuple[int, int] | None:
    """The 12 bits and how many of the 24 were wrong, up to 3; None if that were 4 or more."""
    code = word >> 1
    error = _golay_errors()[_golay_remainder(code)]
    code ^= error
    wrong = error.bit_count() + (code.bit_count() + word & 1)
    return (code >> _GOLAY_PARITY, wrong) if wrong <= 3 else None


class Interleaver:
    """Spreads each word of `size` bits over `depth` slots: bit j goes out j mod depth later.

    A convolutional interleaver (Forney 1971): it delays every word by depth - 1 slots and
    turns a burst of errors into a few errors in each of `depth` words. Depth 1 does nothing.
    """

    def __init__(self, *, size: int, depth: int) -> None:
        self._masks = _masks(size, depth)
        self._words = deque([0] * depth, maxlen=depth)

    def push(self, word: int) -> int:
        """Take the next word; gives what goes into this slot."""
        self._words.append(word)
        out = 0
        for mask, held in zip(self._masks, reversed(self._words), strict=True):
            out |= held & mask
        return out


class Deinterleaver:
    """The way back: each slot gives the word that began depth - 1 slots earlier."""

    def __init__(self, *, size: int, depth: int) -> None:
        self._masks = _masks(size, depth)
        self._slots = deque([0] * depth, maxlen=depth)

    def push(self, slot: int) -> int:
        """Take what came in a slot; gives the word that is complete with it."""
        self._slots.append(slot)
        out = 0
        for mask, held in zip(self._masks, self._slots, strict=True):
            out |= held & mask
        return out


def _masks(size: int, depth: int) -> list[int]:
    """For each delay the bits that have it; the first bit sent, bit 0, has none."""
    return [sum(1 << size - 1 - j for j in range(delay, size, depth)) for delay in range(depth)]
