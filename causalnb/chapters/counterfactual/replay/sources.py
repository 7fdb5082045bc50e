"""The sixteen files of CI vectors that H. Debbi published, and where they come from.

They lie under the data root in `causadv-published/`, or are fetched there from the author's repository at one
commit and compared with their checksums. The repository carries no licence: its numbers are read and cited,
and nothing of it is part of this package.
"""

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from causalnb import UserError, console, files, paths

FOLDER = "causadv-published"
REPOSITORY = "HichemDebbi/CausAdv"
COMMIT = "8a8a9bed57dfebad6ef9372af7d569a8bbb92637"  # 10 February 2024
PATIENCE = 20  # seconds


@dataclass(frozen=True)
class Source:
    """A file: its place in the author's repository, and the SHA-256 of its bytes."""

    place: str
    sha256: str

    @property
    def name(self) -> str:
        """Its name, in the repository and under the data root."""
        return self.place.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where it is fetched from."""
        return f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/{self.place}"


SOURCES = {
    "cifar.prototypes": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR.txt",
        "20c472b86a93d623c95b97dbb548414526edcbd57d5edbaa41f2a209f9f64d0c",
    ),
    "cifar.bim_u": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR_BIM_24.txt",
        "96f045c2b21cee9c1fa1f26a9a9d02254af9fe164180bea04b121d81e0c17f7f",
    ),
    "cifar.bim_t": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR_BIM_Target.txt",
        "e46a36639d3ae115071015b23dd5c6682963943f1d68b2198229a10545032f06",
    ),
    "cifar.fgsm_u": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR_FGSM_24.txt",
        "fe02908d6039c911899af6b1e2bff2795109d8e7321275cc23aef74b32cf7e69",
    ),
    "cifar.fgsm_t": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR_FGSM_Target.txt",
        "fd061e69815108d2cd7838e4b9e59b8905bd564433096749427d8e88af19770f",
    ),
    "cifar.pgd_u": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR_PGD_24.txt",
        "435b323da6e32bc91aa932ea22930098feb08ac48a305300263d2afc939e181d",
    ),
    "cifar.pgd_t": Source(
        "CIFAR/CIFAR_Filters_CIs/Filt_Resp_CIFAR_PGD_Target.txt",
        "309f1fd17d241fd9496f3be5db8fd2b79a08dfd0c6343cf9cc7a6cf4ab9b0f8e",
    ),
    "imagenet.clean": Source(
        "Imagenet/Filters_CIs/Filt_Resp_99_150.txt",
        "1f724cadf3e21db7684650f41a4c0f5dcd6d86fc0eb8a4863c5601d09224cef4",
    ),
    "imagenet.bim_u": Source(
        "Imagenet/Filters_CIs/Filt_Resp_BIM_New.txt",
        "80ef6c8091c042e3fdb4a6ad673a1f2ff06cd83f686d5543f1c5107d70bfa112",
    ),
    "imagenet.bim_t": Source(
        "Imagenet/Filters_CIs/Filt_Resp_BIM_targeted.txt",
        "d4a78d7a98ce162567819f4be024a6e226edc7c24264ec614ee15354392dd95a",
    ),
    "imagenet.fgsm_u": Source(
        "Imagenet/Filters_CIs/Filt_Resp_FGSM_new.txt",
        "c935ca09213b341db199e3e8b03360acac9122886de0a14d8cbce6f1b855c453",
    ),
    "imagenet.fgsm_t": Source(
        "Imagenet/Filters_CIs/Filt_Resp_FGSM_targeted.txt",
        "1b6112c5aca193824244199214fca3e8e35ac46365b1cb48564098957f213045",
    ),
    "imagenet.pgd16_t": Source(
        "Imagenet/Filters_CIs/Filt_Resp_PGD_Target_Eps_16.txt",
        "249e924d6dce5b02571e77cdfd1edd45135d9c2e8b2da2b40af291ecb616e44e",
    ),
    "imagenet.pgd_u": Source(
        "Imagenet/Filters_CIs/Filt_Resp_PGD_new.txt",
        "ce4b18c62b7a392a879efb44300b66689542811553ed8e2b6a9342c427e16358",
    ),
    "imagenet.pgd_t": Source(
        "Imagenet/Filters_CIs/Filt_Resp_PGD_targeted.txt",
        "7214671ebaba23b673cc2a95e6220c4cb8ef16f916cf171a761c2057d837fa26",
    ),
    "imagenet.prototypes": Source(
        "Imagenet/Filters_CIs/Gimagenet_0_50.txt",
        "95b13fe7048e954222f4e9e8764871b769bab74c7a46765fdf368c6648bc5b17",
    ),
}


def folder() -> Path:
    """Where the files lie, or should."""
    return paths.data_root() / FOLDER


def at_hand() -> bool:
    """Whether all files are there; what they hold is compared when they are read."""
    return all((folder() / source.name).is_file() for source in SOURCES.values())


def text(name: str) -> str:
    """What a file holds, from the data root, or fetched there; another file of its name is refused.

    name   of SOURCES, such as "cifar.bim_u"
    """
    source = SOURCES[name]
    file = folder() / source.name
    if not file.is_file():
        files.write(file, _genuine(_fetched(source), source, source.url))
    with files.refusals(file, "read"):
        content = file.read_bytes()
    return _genuine(content, source, str(file)).decode("utf-8")


def _genuine(content: bytes, source: Source, place: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise UserError(
            f"{place} is not the published file {source.name} (its SHA-256 begins with {found[:12]}, not "
            f"with {source.sha256[:12]}): it is damaged or another version; remove it, so that it is fetched "
            "again where there is a network."
        )
    return content


def _fetched(source: Source) -> bytes:
    console.say(f"{source.name} is not at hand: fetching it from {REPOSITORY}")
    try:
        with urllib.request.urlopen(source.url, timeout=PATIENCE) as answer:
            content: bytes = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise UserError(
            f"The published vectors are not at hand: looked for {source.name} in {folder()}, and fetching it "
            f"failed ({error}). Put the {len(SOURCES)} files of {REPOSITORY} at commit {COMMIT[:8]} there."
        ) from None
    return content


def reached(*, fetch: bool) -> bool:
    """Whether all files are there; where some are missing and `fetch` says so, after fetching them."""
    if at_hand() or not fetch:
        return at_hand()
    try:
        for name in SOURCES:
            text(name)
    except UserError as error:
        console.say(str(error))
        return False
    return True
