"""The table of commands: each is a dataclass of options and a function in a module of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """Where to find a command: ``module.options`` is its dataclass, ``module.function`` takes an instance of it."""

    module: str
    options: str
    summary: str
    function: str = "run"
    recipe: bool = False
    """The first argument may be a TOML file, whose values become the defaults of the options."""


_PREPARE, _PUBLISHED, _LAYOUTS = "data.prepare.command", "data.prepare.published", "data.prepare.layouts"

GROUPS: dict[str, dict[str, Command]] = {
    "First steps": {
        "demo": Command("demo.command", "DemoOptions", "run the whole pipeline on a small corpus, in minutes"),
        "adapt": Command("adapt.command", "AdaptOptions", "make a recogniser for your language, from recordings"),
        "adapt divide": Command("adapt.divide", "DivideOptions", "its stage: train, valid and test, by speaker"),
        "adapt choose": Command("adapt.choose", "ChooseOptions", "its stage: numbers of updates, and why"),
        "adapt keep": Command("adapt.keep", "KeepOptions", "its stage: the best of several fine-tunings"),
    },
    "Data ('prepare' writes a manifest, the table of utterances that the other commands read)": {
        "prepare auto": Command(
            _LAYOUTS, "PrepareAuto", "find out which of these layouts a folder has, and prepare it", function="run_auto"
        ),
        "prepare folder": Command(_PREPARE, "PrepareFolder", "recordings without transcripts"),
        "prepare pairs": Command(_LAYOUTS, "PreparePairs", "recordings with a .txt, .lab, .srt or .vtt each"),
        "prepare table": Command(_PREPARE, "PrepareTable", "CSV, TSV or JSON tables of paths and texts"),
        "prepare huggingface": Command(_LAYOUTS, "PrepareHuggingFace", "Parquet with audio; folders with metadata.csv"),
        "prepare kaldi": Command(_LAYOUTS, "PrepareKaldi", "Kaldi's data directories (wav.scp, segments, text)"),
        "prepare lhotse": Command(_LAYOUTS, "PrepareLhotse", "lhotse's cuts, or recordings and supervisions"),
        "prepare fairseq": Command(_PREPARE, "PrepareFairseq", "fairseq's .tsv, with .wrd, .ltr or .phn"),
        "prepare librispeech": Command(_PREPARE, "PrepareLibriSpeech", "LibriSpeech"),
        "prepare librilight": Command(_PUBLISHED, "PrepareLibriLight", "Libri-light, split at pauses"),
        "prepare limited": Command(_PUBLISHED, "PrepareLimited", "Libri-light's transcribed 10 min, 1 h or 10 h"),
        "prepare timit": Command(_PUBLISHED, "PrepareTimit", "TIMIT, with phones as transcripts"),
        "prepare commonvoice": Command(
            _PUBLISHED, "PrepareCommonVoice", "Common Voice, as downloaded or from the hub; Spontaneous Speech"
        ),
        "prepare mls": Command(_PUBLISHED, "PrepareMls", "Multilingual LibriSpeech, or its limited sets"),
        "prepare fleurs": Command(_PUBLISHED, "PrepareFleurs", "FLEURS, or tables in its format"),
        "prepare voxpopuli": Command(_LAYOUTS, "PrepareVoxPopuli", "VoxPopuli's transcribed speech"),
        "prepare libritts": Command(_LAYOUTS, "PrepareLibriTts", "LibriTTS, LibriTTS-R"),
        "prepare vctk": Command(_LAYOUTS, "PrepareVctk", "VCTK"),
        "prepare ljspeech": Command(_LAYOUTS, "PrepareLjSpeech", "LJSpeech, M-AILABS, CSS10: tables with pipes"),
        "prepare aishell": Command(_LAYOUTS, "PrepareAishell", "AISHELL-1"),
        "prepare stm": Command(_LAYOUTS, "PrepareStm", "TED-LIUM, or other recordings with .stm files"),
        "prepare shards": Command("data.shards", "PrepareShards", "pack the recordings of a manifest into tar files"),
    },
    "Training": {
        "pretrain": Command(
            "train.pretrain.command", "PretrainConfig", "pre-train a model on audio without transcripts", recipe=True
        ),
        "finetune": Command(
            "train.finetune.command", "FinetuneConfig", "fine-tune a model on transcribed speech (CTC)", recipe=True
        ),
        "benchmark": Command(
            "train.benchmark.command", "BenchmarkOptions", "measure speed, memory and where the time goes"
        ),
    },
    "Language models": {
        "lm ngram": Command("lm.ngram.command", "NgramOptions", "estimate an n-gram model and a lexicon from text"),
        "lm transformer": Command(
            "train.language_model.command", "LanguageModelConfig", "train a Transformer on text", recipe=True
        ),
        "lm perplexity": Command("lm.perplexity", "PerplexityOptions", "measure the perplexity of a text"),
    },
    "Recognition": {
        "transcribe": Command(
            "inference.transcribe_command", "TranscribeOptions", "transcribe audio files, or a manifest"
        ),
        "listen": Command("inference.live.command", "ListenOptions", "write down speech while it is spoken"),
        "serve": Command("serve.command", "ServeOptions", "serve a recogniser over HTTP, as OpenAI's interface"),
        "align": Command(
            "inference.align_command", "AlignOptions", "find when each word and character of a text is spoken"
        ),
        "evaluate": Command("evaluation.evaluate", "EvaluateConfig", "measure word and character error rates"),
        "tune": Command("evaluation.tune", "TuneOptions", "tune the language model weight on a development set"),
        "pseudo-label": Command(
            "evaluation.pseudo_label", "PseudoLabelOptions", "label untranscribed speech, to fine-tune on it"
        ),
    },
    "Representations": {
        "features": Command("inference.features", "FeaturesOptions", "write the outputs of a model's layers"),
        "units": Command("inference.units", "UnitsOptions", "write the quantizer's codewords"),
    },
    "Model files": {
        "recipes": Command("pipeline.recipes", "RecipesOptions", "list the recipes that come with this package"),
        "completion": Command("cli.completion", "CompletionOptions", "complete commands and options by the Tab key"),
        "info": Command("report.describe", "InfoOptions", "describe a model, a manifest or a language model"),
        "convert": Command("checkpoints.convert", "ConvertOptions", "convert a model to the format of another tool"),
        "export": Command("export.command", "ExportOptions", "export a model to ONNX or torch.export"),
    },
    "Experiments of the paper": {
        "experiment low-label": Command(
            "experiment.low_label", "LowLabelOptions", "few labels, with and without pre-training"
        ),
        "experiment table1": Command(
            "experiment.librispeech", "Table1Options", "10 min to 100 h of labels (tables 1 and 9)"
        ),
        "experiment table2": Command(
            "experiment.librispeech", "Table2Options", "960 h of labels (tables 2 and 10)", function="run_table2"
        ),
        "experiment timit": Command("experiment.timit", "TimitOptions", "phone recognition on TIMIT (table 3)"),
        "experiment ablation": Command("experiment.ablation", "AblationOptions", "variants of pre-training (table 4)"),
    },
    "Reports": {
        "report": Command("report.runs", "ReportOptions", "learning curves of training runs"),
        "report budget": Command("report.budget", "BudgetOptions", "what hours of a machine can buy"),
        "report hours": Command("report.label_hours", "HoursOptions", "error rates against hours of labels"),
        "report codes": Command("report.codes.command", "CodesOptions", "which phones each codeword stands for"),
        "report utterance": Command("report.utterance", "UtteranceOptions", "spectrogram and alignment of a recording"),
    },
}
"""The commands in the order of the help page, under its headings."""

COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}
