"""The store: expensive results as named tensors, each made once for all who ask, and never unpickled.

`memo` is how everything goes in and out; it makes the key itself.
"""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.store.calls import Named, key_of, memo
    from causalnb.store.entries import Store
    from causalnb.store.headers import Entry, key_digest
    from causalnb.store.identity import Unknowable, describe
    from causalnb.store.sealed import Damaged, read, sound, write
else:
    __getattr__, __dir__ = lazy.names(__name__)

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
