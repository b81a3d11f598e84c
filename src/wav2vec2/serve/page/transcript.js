// The text under the wave: paragraphs whose words become elements when they come into view, follow the player, and are
// edited one paragraph at a time. The words of 3 hours are 30,000; only those on the screen exist in the page.

import { clock, difference, doubtBelow, spread, textOf } from "./words.js";

// Paragraphs of a group. A group is laid out, and its words are elements, only near the screen: what a browser does for
// each element in the page at every key press is the most of what a key press takes.
const GROUP = 20;

export class Transcript {
  // changed(number, piece): a paragraph was edited. jump(seconds): play from there. retime(number, text): new words.
  constructor(root, { changed, jump, retime }) {
    this.root = root;
    this.hooks = { changed, jump, retime };
    this.pieces = [];
    this.undone = [];
    this.comparing = false;
    this.focused = [0, 0];
    this.marked = null;
    this.editing = null; // the paragraph as it was before it was edited
    this.seen = new IntersectionObserver((entries) => entries.forEach((entry) => this.reveal(entry)), { rootMargin: "400px" });
    root.addEventListener("click", (event) => this.clicked(event));
    root.addEventListener("keydown", (event) => this.keyed(event));
    root.addEventListener("focusout", (event) => this.left(event));
  }

  show(pieces) {
    this.seen.disconnect();
    this.pieces = pieces;
    this.undone = [];
    this.measure();
    this.root.replaceChildren();
    for (let number = 0; number < pieces.length; number++) this.append(number);
    this.focused = [0, 0];
    this.tabStop();
  }

  measure() {
    this.doubtful = doubtBelow(this.pieces);
    this.starts = this.pieces.map((piece) => piece.words[0]?.start ?? piece.start);
  }

  add(piece) {
    this.pieces.push(piece);
    this.measure();
    this.append(this.pieces.length - 1);
    this.tabStop();
  }

  append(number) {
    const box = document.createElement("div");
    box.className = "piece";
    box.dataset.number = number;
    const time = document.createElement("span");
    time.className = "time";
    time.textContent = clock(this.pieces[number].start);
    const words = document.createElement("p");
    words.className = "words";
    words.textContent = textOf(this.pieces[number]);
    const edit = document.createElement("button");
    edit.className = "edit";
    edit.type = "button";
    edit.tabIndex = -1;
    edit.textContent = "Edit";
    edit.setAttribute("aria-label", `Edit the paragraph at ${clock(this.pieces[number].start)}`);
    box.append(time, words, edit);
    if (number % GROUP === 0) {
      const group = document.createElement("div");
      group.className = "group";
      this.root.append(group);
      this.seen.observe(group);
    }
    this.root.lastElementChild.append(box);
    if (this.root.lastElementChild.near) this.fill(number);
  }

  box(number) { return this.root.children[Math.floor(number / GROUP)]?.children[number % GROUP]; }

  place(number) { return this.box(number)?.querySelector(".words"); }

  reveal(entry) {
    entry.target.near = entry.isIntersecting;
    for (const box of entry.target.children) {
      const number = Number(box.dataset.number), place = this.place(number);
      if (!place || place.isContentEditable) continue;
      if (entry.isIntersecting) { if (!place.firstElementChild) this.fill(number); } // it may have the focus
      else if (number !== this.focused[0]) place.textContent = textOf(this.pieces[number]);
    }
  }

  // Make the words of a paragraph elements.
  fill(number) {
    const place = this.place(number), piece = this.pieces[number];
    if (place.isContentEditable) return;
    const made = document.createDocumentFragment();
    if (this.comparing && piece.greedy !== undefined) this.compared(made, piece);
    else piece.words.forEach((word, at) => {
      const element = document.createElement("span");
      element.className = word.confidence !== undefined && word.confidence <= this.doubtful && this.doubtful ? "word doubt" : "word";
      element.textContent = word.word;
      element.dataset.at = at;
      element.tabIndex = -1;
      element.setAttribute("role", "button");
      if (element.classList.contains("doubt")) element.setAttribute("aria-description", "doubtful");
      made.append(element, " ");
    });
    place.replaceChildren(made);
    if (number === this.focused[0]) this.tabStop();
  }

  compared(made, piece) {
    const left = (piece.greedy ?? "").split(" ").filter(Boolean), right = piece.words.map((word) => word.word);
    for (const [kind, word] of difference(left, right)) {
      const element = document.createElement({ same: "span", left: "del", right: "ins" }[kind]);
      element.textContent = word;
      made.append(element, " ");
    }
  }

  compare(on) {
    this.comparing = on;
    for (const box of this.root.querySelectorAll(".piece")) if (box.querySelector(".word, del, ins, .words > span")) this.fill(Number(box.dataset.number));
  }

  word(number, at) { return this.place(number)?.querySelector(`[data-at="${at}"]`); }

  // One word can be reached by Tab; arrows go to the others.
  tabStop() {
    this.root.querySelector('.word[tabindex="0"]')?.setAttribute("tabindex", "-1");
    this.word(...this.focused)?.setAttribute("tabindex", "0");
  }

  focus(number, at) {
    if (!this.pieces[number]) return;
    if (!this.word(number, at)) this.fill(number);
    this.focused = [number, Math.max(0, Math.min(at, this.pieces[number].words.length - 1))];
    this.tabStop();
    const element = this.word(...this.focused);
    element?.focus({ preventScroll: true });
    element?.scrollIntoView({ block: "nearest" });
  }

  follow(seconds) {
    let low = 0, high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= seconds) low = middle; else high = middle - 1;
    }
    const at = this.pieces[low]?.words.findIndex((word) => word.start <= seconds && seconds < word.end) ?? -1;
    const element = at < 0 ? null : this.word(low, at);
    if (element === this.marked) return;
    this.marked?.classList.remove("now");
    element?.classList.add("now");
    this.marked = element;
  }

  nextDoubt() {
    const [number, at] = this.focused;
    for (let step = 0; step <= this.pieces.length; step++) {
      const piece = (number + step) % this.pieces.length;
      const from = step ? 0 : at + 1;
      const found = this.pieces[piece].words.findIndex((word, n) => n >= from && word.confidence !== undefined && word.confidence <= this.doubtful);
      if (found >= 0) {
        this.focus(piece, found);
        return this.pieces[piece].words[found];
      }
    }
    return null;
  }

  clicked(event) {
    const box = event.target.closest(".piece");
    if (!box) return;
    const number = Number(box.dataset.number);
    if (event.target.closest(".edit")) this.edit(number);
    else if (event.target.dataset.at !== undefined) {
      this.focus(number, Number(event.target.dataset.at));
      this.hooks.jump(this.pieces[number].words[this.focused[1]].start);
    }
  }

  keyed(event) {
    const editing = event.target.isContentEditable;
    if (editing) {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        event.stopPropagation();
        event.target.blur();
      }
      return;
    }
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.dataset.at === undefined) return;
    const [number, at] = this.focused;
    const last = this.pieces[number].words.length - 1;
    if (event.key === "ArrowRight") at < last ? this.focus(number, at + 1) : this.focus(number + 1, 0);
    else if (event.key === "ArrowLeft") at ? this.focus(number, at - 1) : this.focus(number - 1, this.pieces[number - 1]?.words.length - 1);
    else if (event.key === "ArrowDown") this.focus(number + 1, 0);
    else if (event.key === "ArrowUp") this.focus(number - 1, 0);
    else if (event.key === "Enter" || event.key === " ") this.hooks.jump(this.pieces[number].words[at].start);
    else if (event.key === "e" || event.key === "F2") this.edit(number);
    else return;
    event.preventDefault();
  }

  edit(number) {
    const place = this.place(number);
    place.textContent = textOf(this.pieces[number]);
    place.setAttribute("contenteditable", "plaintext-only");
    place.setAttribute("role", "textbox");
    place.setAttribute("aria-label", `Text of the paragraph at ${clock(this.pieces[number].start)}`);
    place.oninput = () => this.typed(number, place.textContent);
    this.editing = this.pieces[number];
    place.focus();
  }

  // Every key press is kept at once, with times that are guessed until the paragraph is aligned.
  typed(number, text) {
    const piece = this.pieces[number], texts = text.split(/\s+/).filter(Boolean);
    this.pieces[number] = { ...piece, words: spread(texts, piece.start, piece.end), edited: true };
    this.hooks.changed(number, this.pieces[number]);
  }

  left(event) {
    const place = event.target;
    if (!place.isContentEditable) return;
    const number = Number(place.closest(".piece").dataset.number), before = this.editing;
    for (const name of ["contenteditable", "role", "aria-label"]) place.removeAttribute(name);
    place.oninput = null;
    if (textOf(before) !== textOf(this.pieces[number])) {
      this.undone.push([number, before]);
      this.hooks.retime(number, textOf(this.pieces[number]));
    } else this.pieces[number] = before;
    this.fill(number);
  }

  set(number, piece) {
    this.pieces[number] = piece;
    this.starts[number] = piece.words[0]?.start ?? piece.start;
    if (!this.place(number)?.isContentEditable) this.fill(number);
    this.hooks.changed(number, piece);
  }

  undo() {
    const last = this.undone.pop();
    if (last) this.set(...last);
    return last?.[0];
  }
}
