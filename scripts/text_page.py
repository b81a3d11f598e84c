"""The table of docs/text.md: what `--text.auto` makes of a sentence in each of some languages.

python scripts/text_page.py          write the table into docs/text.md
python scripts/text_page.py --check  exit with 1 if the page holds another one
"""

import sys
from pathlib import Path

from wav2vec2.text.by_script import choose_normalization

PAGE = Path(__file__).resolve().parents[1] / "docs" / "text.md"
BEGIN, END = "<!-- written by scripts/text_page.py -->\n", "<!-- end -->"
EXAMPLES = (
    ("en", "English", "“It’s 5 o’clock,” she said — the twenty-first of May, £1,250."),
    ("de", "German", "Die Straße ist 3,5 km lang; groß, nicht „Groß“!"),
    ("fr", "French", "L’été 1998, c’est-à-dire le 1er août : «\u00a0Où\u00a0?\u00a0»"),
    ("tr", "Turkish", "Işık İstanbul'da 21 gün kaldı."),
    ("el", "Greek", "Ο ΟΔΥΣΣΕΑΣ είπε: «Ποιος;»"),
    ("ru", "Russian", "Объём — 42 литра, всё ещё."),
    ("ar", "Arabic",
     "قَالَ الـمُعَلِّمُ: «اقرأ ٣ كتب في المكتبة الكبيرة مع الأصدقاء والصديقات»، ثم خرج من المدرسة مع الطلاب."),
    ("he", "Hebrew", "הוא אמר: „יש 21 ספרים בבית־הספר“, וגם צה\"ל ושָׁלוֹם."),
    ("hi", "Hindi", "क्षत्रिय ने कहा, “हिन्दी में लिखो।”"),
    ("th", "Thai", "ฉันมีหนังสือ ๑๒ เล่ม และ น้ำ"),
    ("ja", "Japanese", "「今日は２０２４年３月です。」ｶﾞﾗｽ"),
    ("zh", "Chinese", "他说：“你好， 世界！”"),
    ("ko", "Korean", "사과 21개, 좋아요!"),
    ("fa", "Persian", "او می\u200cخواهد ۱۲ کتاب بخرد؛ «نه!»"),
)  # fmt: skip


def table() -> str:
    """The table, as Markdown."""
    lines = ["| language | as written | as the model learns it | score |", "|---|---|---|---|"]
    for code, name, sentence in EXAMPLES:
        chosen = choose_normalization([sentence], code)
        lines.append(f"| {name} (`{code}`) | {sentence} | {chosen.normalization(sentence)} | {chosen.score} |")
    return "\n".join(lines) + "\n"


def page(old: str) -> str:
    """The page with the table of today."""
    before, _, rest = old.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if "--check" in sys.argv:
        sys.exit(int(old != new))
    PAGE.write_text(new, encoding="utf-8")
