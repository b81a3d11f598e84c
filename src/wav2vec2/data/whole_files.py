"""A folder, on a disk or in remote storage, whose files appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wav2vec2.data.byte_range import described
from wav2vec2.data.remote import StorageError, filesystem, is_remote, repeated
from wav2vec2.errors import UserError
from wav2vec2.output_file import write_error, writing

# Stores in which an upload is visible at its end, and not before. Elsewhere a file is renamed into place.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"}


class WholeFiles:
    """The files of one folder.

    A file of a remote folder is written to the temporary folder of this machine (TMPDIR) and uploaded when it is
    complete, in parts that are sent side by side. An upload that is cut off leaves no file; its parts are the store's
    to remove (S3: a lifecycle rule for incomplete multipart uploads).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(folder).rstrip("/") if is_remote(folder) else str(folder)
        self.remote = is_remote(folder)

    def path(self, name: str) -> str:
        """The path or URL of a file."""
        return f"{self.folder}/{name}" if self.remote else os.path.join(self.folder, name)

    @contextmanager
    def writing(self, name: str) -> Iterator[str]:
        """Yield the name of a temporary file; when the block ends, its content is the file `name`.

        Raises:
            UserError: it cannot be written, in one line.
        """
        if not self.remote:
            with writing(self.path(name), durable=True) as temporary:
                yield temporary
            return
        try:
            with tempfile.TemporaryDirectory(prefix="wav2vec2-") as scratch:
                local = os.path.join(scratch, name)
                yield local
                self._upload(local, name)
        except UserError:
            raise
        except OSError as error:
            raise write_error(Path(tempfile.gettempdir()), error) from None

    def size(self, name: str) -> int:
        """Bytes of a file; -1 if there is none. Raises UserError if the folder cannot be asked."""
        if not self.remote:
            return os.path.getsize(self.path(name)) if os.path.isfile(self.path(name)) else -1
        try:
            return int(described(self.path(name))["size"])
        except StorageError as error:
            if error.reason == "missing":
                return -1
            raise

    def names(self) -> list[str]:
        """The names of the files that are there, sorted. Raises UserError if the folder cannot be asked."""
        if not self.remote:
            return sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []

        def ask() -> list[str]:
            files, key = filesystem(self.folder)
            files.invalidate_cache()
            try:
                return sorted(name.rstrip("/").rpartition("/")[2] for name in files.ls(key, detail=False))
            except FileNotFoundError:
                return []

        return repeated(self.folder, ask)

    def remove(self, name: str) -> None:
        """Remove a file if it is there. Raises UserError if that is refused."""
        if not self.remote:
            Path(self.path(name)).unlink(missing_ok=True)
            return

        def act() -> None:
            files, key = filesystem(self.path(name))
            try:
                files.rm_file(key)
            except FileNotFoundError:
                return

        repeated(self.path(name), act, done="written")

    def _upload(self, local: str, name: str) -> None:
        url = self.path(name)

        def act() -> None:
            files, key = filesystem(url, patient=True)
            protocols: Any = files.protocol
            direct = _OBJECT_STORES & set([protocols] if isinstance(protocols, str) else protocols)
            place = key if direct else f"{key.rpartition('/')[0]}/.{name}.partial"
            if not direct:
                files.makedirs(key.rpartition("/")[0], exist_ok=True)
            files.put_file(local, place)
            if not direct:
                files.mv(place, key)

        repeated(url, act, done="written")
        if (there := self.size(name)) != os.path.getsize(local):
            what = "is not there" if there < 0 else f"has {there} bytes instead of {os.path.getsize(local)}"
            raise StorageError(f"{url}: {what} after it was written: run the same command again")
