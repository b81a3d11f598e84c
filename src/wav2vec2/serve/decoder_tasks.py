"""What a decoder process does with a file: write down what is said in it, or find when a known text is said."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wav2vec2.audio.recordings import Failure, StreamedRecording
from wav2vec2.checkpoints.load import describe, language_model_folder
from wav2vec2.decode.aligned_text import align_text
from wav2vec2.decode.build import open_each_once
from wav2vec2.decode.hypothesis import hypothesis_text
from wav2vec2.decode.search import GREEDY, Search
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import is_exported, vocabulary_and_architecture
from wav2vec2.inference.align import in_seconds
from wav2vec2.inference.chunks import Assembly, Chunk, chunks, searched
from wav2vec2.inference.cuts import CutRules, cuts
from wav2vec2.inference.windows import WindowSizes
from wav2vec2.serve.messages import Channel, Message
from wav2vec2.serve.remote_model import RemoteModel
from wav2vec2.serve.search import open_search, tuned_pieces


@dataclass
class Recognizer:
    """What all requests share: how recordings are cut, and the search. Opened once, by the parent."""

    settings: dict[str, Any]

    def __post_init__(self) -> None:
        source, language = self.settings["model"], self.settings["language"]
        self.vocabulary, self.architecture = vocabulary_and_architecture(source, language)
        exported = is_exported(source)
        heard = None if exported else describe(source, language=language).longest_heard
        self._folder: Callable[[], Path | None] = (
            (lambda: None) if exported else (lambda: language_model_folder(source))
        )
        self.open_lm = open_each_once()
        self.search = open_search(self.settings["decoding"], self.vocabulary, self._folder, open_lm=self.open_lm)
        tuned = tuned_pieces(self.settings["decoding"])
        sizes = WindowSizes(batch=self.settings["batch_seconds"])
        self.piecewise = CutRules(self.architecture, sizes, tuned.rules(heard, sizes), tuned.statistics or "piece")
        self.whole = CutRules(self.architecture, sizes)
        if self.search.decoder is not None:  # compiled before a request waits for it
            self._try(self.search)

    def _try(self, search: Search) -> None:
        assert search.decoder is not None
        search.decoder.decode([np.zeros((1, len(self.vocabulary)), np.float32)], search.options)

    def facts(self) -> dict[str, Any]:
        """What the front needs to know of the vocabulary."""
        return {"spaced": self.vocabulary.spaced}

    def compile_search(self) -> None:
        """Compile our own search, which the hotwords of a request need even where decoding is greedy."""
        if self.search.decoder is None and self.vocabulary.word_separator is not None:
            letter = next(s for s in self.vocabulary.symbols if s.isalpha())
            self._try(self.with_hotwords({letter: 1.0}))

    def with_hotwords(self, hotwords: dict[str, float]) -> Search:
        """Return the search of one request."""
        if not hotwords:
            return self.search
        plain = self.settings["decoding"]
        if plain.get("decoder", "auto") in ("auto", "greedy") and self.search.decoder is None:
            plain = {**plain, "decoder": "beam"}
        return open_search(plain, self.vocabulary, self._folder, hotwords=hotwords, open_lm=self.open_lm)


def transcribe(
    recognizer: Recognizer, recording: StreamedRecording, job: dict[str, Any], channel: Channel
) -> dict[str, Any]:
    """Send what is said between the pauses of a recording as soon as it is known; return the whole."""
    r = recognizer
    search = r.with_hotwords(job.get("hotwords") or {})
    remote = RemoteModel(channel, log_probs=search.decoder is not None, width=len(r.vocabulary))
    pools = remote.pools(cuts(recording, r.piecewise))
    part = Assembly(r.vocabulary, r.architecture, search)
    searches = [GREEDY, search] if job.get("greedy") and search.decoder is not None else [search]
    for event, lists in searched(chunks(pools, r.vocabulary, r.architecture.stride), searches, r.vocabulary):
        if isinstance(event, Failure):
            raise UserError(event.message)
        if not isinstance(event, Chunk):
            continue
        nbest = lists[-1]
        piece = part.add(event.recording, event.start, len(event.symbols), nbest)
        words = [[word.text, word.start, word.end, word.confidence] for word in piece.words]
        said = {"text": piece.text, "start": piece.start, "end": piece.end, "words": words, "ids": nbest[0].ids}
        if len(lists) > 1:
            said["greedy"] = hypothesis_text(r.vocabulary, lists[0][0])
        channel.send(Message("said", said))
    whole = part.transcript(recording)
    return {"text": whole.text, "seconds": whole.seconds, "spaced": whole.spaced, "warning": whole.warning}


def align(
    recognizer: Recognizer, recording: StreamedRecording, job: dict[str, Any], channel: Channel
) -> dict[str, Any]:
    """Return the times of the words of a known text."""
    r = recognizer
    remote = RemoteModel(channel, log_probs=True, width=len(r.vocabulary))
    parts = []
    for (event,) in remote.pools(cuts(recording, r.whole)):
        if isinstance(event, Failure):
            raise UserError(event.message)
        if isinstance(event, tuple):
            parts.append(event[1][2].numpy())
    emissions = np.concatenate(parts) if parts else np.zeros((0, len(r.vocabulary)), np.float32)
    aligned = align_text(emissions, job["text"], r.vocabulary, name=recording.name)
    return in_seconds(aligned, recording, r.architecture, r.vocabulary).as_json()
