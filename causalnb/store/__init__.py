"""The store: expensive results as named tensors, each made once for all who ask, and never unpickled."""

from causalnb.store.entries import Store
from causalnb.store.headers import Entry, key_digest
from causalnb.store.sealed import Damaged, read, sound, write

__all__ = ["Damaged", "Entry", "Store", "key_digest", "read", "sound", "write"]
