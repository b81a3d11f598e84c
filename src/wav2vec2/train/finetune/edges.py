"""The option of fine-tuning that changes the silence at the ends of utterances (`data.edges`). Not in the paper."""

from dataclasses import dataclass, replace

from wav2vec2.config import option
from wav2vec2.data.edges import EdgedPlan
from wav2vec2.train.corpus import Corpus


@dataclass(frozen=True)
class EdgeConfig:
    """Silence before and after each utterance, drawn anew every time, so that the model recognises pieces of long
    recordings as well as utterances that were cut by hand.
    """

    share: float = option(0.0, low=0.0, high=1.0)
    """Share of the beginnings and endings that are changed; 0: none."""
    seconds: float = option(0.3, low=0.0, below=10.0)
    """The longest silence there: a shorter one is lengthened by noise like the quietest of the utterance, or by digital
    silence; of a longer one the rest is cut away."""


def with_edges(corpus: Corpus, edges: EdgeConfig, *, seed: int, group_samples: int) -> Corpus:
    """Return a corpus whose utterances, none of which is cropped, get other edges, and a line that says so.

    group_samples: most samples, padding included, that all ranks together hold at a time.
    """
    if not edges.share:
        return corpus
    plan = EdgedPlan(
        corpus.loader.plan, seed=seed, share=edges.share, seconds=edges.seconds, group_samples=group_samples
    )
    ends = f"{100 * edges.share:g} % of the ends of utterances"
    line = f"{ends} get a silence of 0 to {edges.seconds:g} s, drawn anew every time (edges)"
    return replace(corpus, loader=replace(corpus.loader, plan=plan), lines=[*corpus.lines, line])
