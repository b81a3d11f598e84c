// Words and paragraphs: from an answer of the server, doubtful ones, and a comparison of two texts.

// Paragraphs of { start, end, words: [{ word, start, end, confidence }], greedy }.
export function fromAnswer(answer) {
  const pieces = [];
  let next = 0;
  for (const segment of answer.segments) {
    const words = [];
    while (next < answer.words.length && answer.words[next].start < segment.end + 0.011) words.push(answer.words[next++]);
    if (words.length) pieces.push({ start: segment.start, end: segment.end, words, greedy: segment.greedy });
  }
  if (next < answer.words.length) {
    const words = answer.words.slice(next);
    pieces.push({ start: words[0].start, end: words.at(-1).end, words });
  }
  return pieces;
}

export function textOf(piece, spaced = true) {
  return piece.words.map((word) => word.word).join(spaced ? " " : "");
}

// The confidence below which the worst tenth of all words lies.
export function doubtBelow(pieces) {
  const known = [];
  for (const piece of pieces) for (const word of piece.words) if (word.confidence !== undefined) known.push(word.confidence);
  known.sort((a, b) => a - b);
  return known.length ? known[Math.min(known.length - 1, Math.ceil(known.length / 10))] : 0;
}

// Times for words nobody has aligned: by their letters, between two times.
export function spread(texts, start, end) {
  const total = texts.reduce((sum, text) => sum + text.length + 1, 0) || 1;
  let at = start;
  return texts.map((word) => {
    const begin = at;
    at += ((end - start) * (word.length + 1)) / total;
    return { word, start: begin, end: at };
  });
}

// Which words of `left` and `right` are equal: [kind, word] with kind "same", "left" or "right".
export function difference(left, right) {
  const width = right.length + 1;
  const longest = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      longest[i * width + j] = left[i] === right[j]
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const found = [];
  let i = 0, j = 0;
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) { found.push(["same", left[i++]]); j++; }
    else if (j === right.length || (i < left.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) found.push(["left", left[i++]]);
    else found.push(["right", right[j++]]);
  }
  return found;
}

export function clock(seconds) {
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  const minutes = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${minutes}` : minutes;
}
