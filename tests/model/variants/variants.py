"""Every variant of the pre-training model by a name, for tests of models, training and files."""

from wav2vec2.model.variants.variant import Variant

VARIANTS = {
    "quantized inputs, quantized targets": Variant(inputs="quantized"),
    "quantized inputs, shared quantizer": Variant(inputs="quantized", input_quantizer="shared"),
    "quantized inputs, continuous targets": Variant(inputs="quantized", targets="continuous"),
    "continuous targets": Variant(targets="continuous"),
    "continuous targets, MLP": Variant(targets="continuous", target_mlp=True),
    "continuous targets, separate encoders": Variant(targets="continuous", separate_encoder=True),
    "quantized targets, separate encoders": Variant(separate_encoder=True),
    "gated linear unit": Variant(target_glu=True),
    "deep quantizer": Variant(quantizer_depth=3),
    "no noise": Variant(gumbel_noise=False),
    "no gradient": Variant(target_gradient=False),
    "negatives anywhere": Variant(negatives_from="anywhere"),
    "negatives of the batch": Variant(batch_negatives=7),
    "negatives of the codebook": Variant(codebook_negatives=7),
    "negatives of all kinds": Variant(negatives_from="anywhere", batch_negatives=5, codebook_negatives=6),
    "edges": Variant(edge_frames=2),
    "fixed units": Variant(targets="fixed"),
}
