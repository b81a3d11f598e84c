"""Opening a live session for a model."""

from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.live.encoder import LiveEncoder
from wav2vec2.inference.live.session import LiveSession
from wav2vec2.inference.live.settings import LiveSettings
from wav2vec2.inference.live.writer import GreedyWriter
from wav2vec2.model.ctc import Wav2Vec2ForCTC


def live_encoder(model: AcousticModel, settings: LiveSettings) -> LiveEncoder:
    """Return the model as a live session uses it. Raises UserError for an exported model."""
    if not isinstance(model.model, Wav2Vec2ForCTC):
        raise UserError(
            "listen: an exported model computes whole recordings only; give the model directory that it was made from"
        )
    return LiveEncoder(model.model, model.device, settings)


def open_session(model: AcousticModel, settings: LiveSettings) -> LiveSession:
    """Return a session that writes by the best symbol of every frame. Raises UserError for an exported model."""
    writer = GreedyWriter(model.vocabulary, model.architecture)
    return LiveSession(live_encoder(model, settings), writer, model.vocabulary, settings)
