"""The model that fine-tuning starts from: a pre-trained encoder, or random weights."""

from dataclasses import replace

from wav2vec2.errors import UserError
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune import lora
from wav2vec2.train.finetune.config import SCRATCH, FinetuneConfig
from wav2vec2.train.finetune.ways import UNKNOWN_LANGUAGE, freeze, rate_lines, tuned_regularization, with_adapters


def starting_architecture(config: FinetuneConfig) -> Architecture:
    """The architecture of the model that training starts from, without reading its weights."""
    if config.init == SCRATCH:
        return config.model.build()
    from wav2vec2.checkpoints.load import describe

    return describe(config.init).architecture


def build_model(
    config: FinetuneConfig, vocabulary: Vocabulary, language: str = UNKNOWN_LANGUAGE
) -> tuple[Wav2Vec2ForCTC, list[str]]:
    """A recogniser with the encoder of ``config.init``, and lines that describe it; ``language`` names its adapters.

    The output layer is new, unless that of ``config.init`` has the same symbols. From scratch nothing is frozen: a
    feature encoder that stays random would be useless.
    """
    if config.init == SCRATCH:
        return _from_scratch(config, vocabulary)
    from wav2vec2.checkpoints.load import load

    way = config.tune.way(config.regularization)
    loaded = load(config.init)
    architecture = loaded.architecture
    if way == "adapters":
        architecture = with_adapters(architecture, config.tune.adapter_size)
    model = Wav2Vec2ForCTC(architecture, vocabulary, tuned_regularization(way, config.regularization), config.masking)
    lines = [f"model: {loaded.architecture.name} from {config.init}"]
    kept = isinstance(loaded, Wav2Vec2ForCTC) and loaded.vocabulary and loaded.vocabulary.symbols == vocabulary.symbols
    weights = loaded.encoder.state_dict()
    if way == "adapters" and not kept:  # those of another language, which a new output layer does not fit
        weights |= {name: value for name, value in model.encoder.state_dict().items() if ".adapter." in name}
    model.encoder.load_state_dict(weights)
    if isinstance(loaded, Wav2Vec2ForCTC) and kept:
        model.head.load_state_dict(loaded.head.state_dict())
        lines[0] += ", output layer kept"
    elif isinstance(loaded, Wav2Vec2ForCTC):
        had = f"{len(loaded.vocabulary)} symbols" if loaded.vocabulary else f"{loaded.head.out_features} outputs"
        lines.append(
            f"the output layer and tokenizer of {config.init} ({had}) are replaced: its symbols are not those of "
            f"these transcripts; --text.vocabulary {config.init} keeps them"
        )
    if way == "adapters":
        model.language = language
        lines.append(f"adapters of {architecture.adapter_size} channels, saved as those of the language {language}")
    if way == "lora":
        lora.insert(model, config.tune.lora_rank, config.tune.lora_alpha)
    return model, [*lines, *freeze(model, way), *rate_lines(way, config.train.lr)]


def _from_scratch(config: FinetuneConfig, vocabulary: Vocabulary) -> tuple[Wav2Vec2ForCTC, list[str]]:
    """A recogniser of random weights. Raises UserError for a way that needs a model."""
    if config.tune.what in ("context", "adapters", "lora"):
        raise UserError(
            f"tune.what = {config.tune.what} needs a pre-trained model, and init is scratch: random weights that stay "
            "as they are would be useless; give a model, or leave tune.what out"
        )
    regularization = replace(config.regularization, feature_grad_mult=1.0)
    architecture = config.model.build()
    model = Wav2Vec2ForCTC(architecture, vocabulary, regularization, config.masking)
    return model, [f"model: {architecture.name} from scratch, all of it trained from the first update"]
