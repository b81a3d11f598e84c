"""The model over a stream: convolutions once for every frame, the context network over a chunk and what is around it.

A frame of the convolutions depends on its 400 samples and, in the normalisations, on what else was heard: on the mean
and variance of the input, and in the group-norm family on the statistics of the first layer. These follow the utterance
until enough speech was heard, and are then frozen, so that a frame is computed once and stays what it is.

Silence between two stretches of speech is not heard by the model: the frames of the stretches follow one another.

Legend: N frames of the view, C feature channels, V symbols.
"""

from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.device import computing_in
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.layout import Layout, Packed, Padded
from wav2vec2.model.window_moments import WindowMoments


@dataclass
class _Run:
    """Frames that follow one another without a gap: their first number in the stream, and their audio."""

    first: int
    audio: np.ndarray
    features: Tensor | None = None

    def frames(self, stride: int, field_size: int) -> int:
        return max(0, (len(self.audio) - field_size) // stride + 1)


@dataclass(frozen=True)
class _Scales:
    """What the normalisations use: mean and deviation of the input, moments of the first layer's windows."""

    mean: float
    deviation: float
    moments: WindowMoments | None


@dataclass
class LiveEncoder:
    """One utterance of a stream: audio in, log-probabilities of the frames in view out."""

    model: Wav2Vec2ForCTC
    device: torch.device
    settings: LiveSettings
    half: torch.dtype | None = None
    """The type of matrix products, None for float32."""
    _runs: list[_Run] = field(default_factory=list)
    _scales: _Scales | None = None
    _frozen: bool = False

    def restart(self) -> None:
        """Forget everything: another utterance begins."""
        self._runs, self._scales, self._frozen = [], None, False

    def next_piece(self) -> None:
        """Forget the audio; the normalisation is that of the audio to come as soon as there is some."""
        self._runs, self._frozen = [], False

    def renew(self) -> None:
        """Take the normalisation from the audio in view, as at the beginning of an utterance that goes on."""
        self._frozen = False

    @property
    def end(self) -> int:
        """The number of the frame after the last one, counted from the beginning of the stream."""
        a = self.model.architecture
        return self._runs[-1].first + self._runs[-1].frames(a.stride, a.receptive_field) if self._runs else 0

    def extend(self, first: int, audio: np.ndarray) -> None:
        """Add the audio of further frames, the first of which is number `first`; (S,) float32.

        If it is the frame that follows the last one, `audio` begins where the audio of the last call ended, or in the
        first sample of that frame.
        """
        a = self.model.architecture
        if self._runs and first == self.end:
            run = self._runs[-1]
            kept = (first - run.first) * a.stride
            run.audio = np.concatenate([run.audio[:kept], audio])
        else:
            self._runs.append(_Run(first, audio))

    def forget(self, before: int) -> None:
        """Drop the frames before number `before`, once they are not needed for the normalisation."""
        if not self._frozen:
            return
        a = self.model.architecture
        kept = []
        for run in self._runs:
            passed = min(max(0, before - run.first), run.frames(a.stride, a.receptive_field))
            if passed < run.frames(a.stride, a.receptive_field) or run is self._runs[-1]:
                features = None if run.features is None else run.features[passed:].clone()
                kept.append(_Run(run.first + passed, run.audio[passed * a.stride :].copy(), features))
        self._runs = kept

    def take_back(self, number: int) -> None:
        """Drop the frames from number `number` on: what they heard was no speech."""
        a = self.model.architecture
        kept = [run for run in self._runs if run.first < number]
        for run in kept[-1:]:
            count = number - run.first
            if count < run.frames(a.stride, a.receptive_field):
                run.audio = run.audio[: (count - 1) * a.stride + a.receptive_field]
                run.features = None if run.features is None else run.features[:count]
        self._runs = kept

    def look(self, first: int, number: int, audio: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Return what `log_probs` would after `extend(number, audio)`; change nothing, normalisation included."""
        if self._scales is None:
            return np.zeros(0, np.int64), torch.zeros(0, self.model.head.out_features)
        other = replace(self, _runs=[copy(run) for run in self._runs], _frozen=True)
        other.extend(number, audio)
        return other.log_probs(first)

    @torch.inference_mode()
    def log_probs(self, first: int) -> tuple[np.ndarray, Tensor]:
        """Return the numbers (N,) of the frames from `first` on, and their log-probabilities (N, V) on the CPU.

        The model sees these frames and nothing else.
        """
        with computing_in(self.half, self.device):
            return self._log_probs(first)

    def _log_probs(self, first: int) -> tuple[np.ndarray, Tensor]:
        self._normalize()
        numbers, features = [], []
        for run in self._runs:
            run.features = self._features(run)
            skipped = min(max(0, first - run.first), len(run.features))
            numbers.append(np.arange(run.first + skipped, run.first + len(run.features)))
            features.append(run.features[skipped:])
        numbers_in_view = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        if not len(numbers_in_view):
            return numbers_in_view, torch.zeros(0, self.model.head.out_features)
        raw = torch.cat(features)
        layout: Layout
        if self.model.encoder.use_packed(raw):
            layout = Packed((len(raw),))
        else:
            raw, layout = raw[None], Padded(torch.tensor([len(raw)], device=self.device), len(raw), full=True)
        context = self.model.encoder.context_vectors(self.model.encoder.normed_features(raw, layout), None, None)
        logits = layout.pad(self.model.head(context))[0]
        return numbers_in_view, logits.float().log_softmax(-1).cpu()

    def _features(self, run: _Run) -> Tensor:
        """Compute the convolutions of the frames of a run that were not computed yet; return all, (frames, C)."""
        a = self.model.architecture
        known = 0 if run.features is None else len(run.features)
        frames = run.frames(a.stride, a.receptive_field)
        if run.features is not None and known == frames:
            return run.features
        assert self._scales is not None
        audio = (run.audio[known * a.stride :] - self._scales.mean) / self._scales.deviation
        waveform = torch.from_numpy(audio.astype(np.float32)).to(self.device)[None]
        lengths = torch.tensor([waveform.shape[1]], device=self.device)
        encoder = self.model.encoder
        moments = None if self._scales.moments is None else [self._scales.moments]
        raw, layout = encoder.feature_encoder(waveform, lengths, encoder.use_packed(waveform), moments=moments)
        new = layout.pad(raw)[0]
        return new if run.features is None else torch.cat([run.features, new])

    def _normalize(self) -> None:
        """Bring the normalisation up to date, unless it is frozen; then all frames are computed anew."""
        if self._frozen or not self._runs:
            return
        a = self.model.architecture
        mean, deviation = 0.0, 1.0
        if a.normalization_epsilon is not None:
            heard = np.concatenate([run.audio for run in self._runs]).astype(np.float64)
            mean, deviation = float(heard.mean()), float(np.sqrt(heard.var() + a.normalization_epsilon))
        moments = None
        if a.conv_norm == "group":
            waveforms = [torch.from_numpy((run.audio - mean) / deviation) for run in self._runs]
            parts = [WindowMoments.of(waveform.float().to(self.device), a) for waveform in waveforms]
            moments = sum(parts[1:], parts[0])
        self._scales = _Scales(mean, deviation, moments)
        for run in self._runs:
            run.features = None
        heard_seconds = sum(len(run.audio) for run in self._runs) / SAMPLE_RATE
        self._frozen = heard_seconds >= self.settings.settled
