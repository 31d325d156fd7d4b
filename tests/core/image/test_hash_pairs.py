import numpy as np

from stages.core.image.hash_pairs import hash_pairs
from stages.core.random import numpy_generator


def test_hash_pairs_against_all_pairs():
    draw = numpy_generator(0, "hash")
    base = draw.integers(0, 2**63, 40, dtype=np.uint64)
    flipped = base ^ (np.uint64(1) << draw.integers(0, 16, 40, dtype=np.uint64))
    hashes = np.concatenate([base, flipped])
    everyone = {
        (a, b)
        for a in range(80)
        for b in range(a + 1, 80)
        if bin(int(hashes[a] ^ hashes[b])).count("1") <= 4
    }
    assert {tuple(pair) for pair in hash_pairs(hashes, 4).tolist()} == everyone


def test_a_thousand_equal_hashes_make_few_pairs():
    same = np.full(1000, 0x0F0F, np.uint64)
    assert len(hash_pairs(same, 8)) == 8 * 1000 - sum(range(1, 9))
    assert hash_pairs(same[:1], 8).shape == hash_pairs(same[:0], 8).shape == (0, 2)
