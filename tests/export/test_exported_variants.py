"""Recognisers whose encoder is a variant: their exported files keep it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.small_models import GROUP

from wav2vec2.errors import UserError
from wav2vec2.export.traceable import TraceableCTC
from wav2vec2.inference.exported import ExportMetadata
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.variants.variant import Variant
from wav2vec2.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a"))


@pytest.mark.parametrize("variant", [Variant(), Variant(inputs="quantized", input_quantizer="shared")])
def test_metadata_of_a_variant_read_back(variant: Variant, tmp_path: Path) -> None:
    metadata = ExportMetadata(replace(GROUP, variant=variant), VOCABULARY, False, "fp32")
    strings = metadata.as_strings()
    assert ExportMetadata.from_strings(strings, "file") == metadata
    with pytest.raises(UserError, match="its metadata is damaged"):
        ExportMetadata.from_strings(
            {**strings, "architecture": strings["architecture"].replace("masked", "neither")}, "file"
        )


def test_the_traceable_graph_of_quantized_inputs_equals_the_model() -> None:
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(replace(GROUP, variant=Variant(inputs="quantized")), len(VOCABULARY)).eval()
    waveforms, lengths = torch.randn(2, 6000), torch.tensor([6000, 4000])
    with torch.no_grad():
        ours, frames = model(waveforms, lengths)
        theirs, their_frames = TraceableCTC(model)(waveforms, lengths)
    assert torch.equal(frames, their_frames)
    for row, count in enumerate(frames.tolist()):
        torch.testing.assert_close(ours[row, :count], theirs[row, :count], rtol=1e-4, atol=1e-4)
