"""The store: expensive results as named tensors, each made once for all who ask, and never unpickled.

`memo` is how everything goes in and out; it makes the key itself.
"""

from causalnb.store.entries import Damaged, Entry, Store, key_digest, read, sound, write
from causalnb.store.identity import Unknowable, describe
from causalnb.store.memo import Named, key_of, memo

__all__ = [
    "Damaged",
    "Entry",
    "Named",
    "Store",
    "Unknowable",
    "describe",
    "key_digest",
    "key_of",
    "memo",
    "read",
]
__all__ += ["sound", "write"]
