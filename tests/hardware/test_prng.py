"""Streams of random numbers."""

from memtwin.hardware.prng import Prng, stream


def test_the_first_output_of_seed_0_is_the_published_one() -> None:
    assert Prng(0).next64() == 0xE220A8397B1DCDAF


def test_named_streams_of_one_seed_are_repeatable_and_apart() -> None:
    first = [stream(7, "disk").next64() for _ in range(2)]
    assert first[0] == first[1] != stream(7, "kswapd").next64() != stream(8, "disk").next64()
