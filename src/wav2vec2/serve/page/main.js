// The page: a file or a recording in, its text under its sound, corrected, kept, and downloaded.

import { Recorder, base64, RATE } from "./recorder.js";
import { align, key, live, models, transcribe, written } from "./server.js";
import * as store from "./store.js";
import { Transcript } from "./transcript.js";
import { Wave } from "./wave.js";
import { fromAnswer, spread, textOf } from "./words.js";

const $ = (id) => document.getElementById(id);
const audio = $("audio");
const wave = new Wave($("wave"), audio);
const transcript = new Transcript($("text"), {
  jump: (seconds) => { audio.currentTime = seconds; audio.play().catch(() => {}); },
  changed: (number, piece) => { store.keepPiece(number, piece); $("undo").disabled = !transcript.undone.length; },
  retime,
});
let file = null, asking = null, recording = null;

function say(text) { $("status").textContent = text; }
function complain(text) { $("error").textContent = text; if (text) say(""); }

async function retime(number, text) {
  $("undo").disabled = false;
  if (!file || !text) return;
  const piece = transcript.pieces[number];
  const from = Math.max(0, piece.start - 0.2), to = piece.end + 0.2;
  try {
    const aligned = await align(file, text, from, to);
    if (textOf(transcript.pieces[number]) !== text) return; // edited again meanwhile
    const guessed = spread(aligned.map((word) => word.text), piece.start, piece.end);
    const words = aligned.map((word, at) => word.start === null ? guessed[at]
      : { word: word.text, start: from + word.start, end: from + word.end });
    transcript.set(number, { ...piece, words, edited: true });
  } catch (error) {
    complain(`The times of this paragraph are guessed: ${error.message}`);
  }
}

function opened(given, peaks, seconds) {
  file = given;
  if (audio.src) URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(given);
  $("player").hidden = false;
  wave.show(peaks, seconds);
}

function shown(pieces) {
  transcript.show(pieces);
  $("tools").hidden = !pieces.length;
  $("clear").hidden = false;
  $("compare").hidden = !pieces.some((piece) => piece.greedy !== undefined);
  $("undo").disabled = true;
}

async function heard(given) {
  asking?.abort();
  asking = new AbortController();
  complain("");
  say(`${given.name}: being written down …`);
  opened(given, null, 0);
  shown([]);
  try {
    const answer = await transcribe(given, asking.signal);
    const pieces = fromAnswer(answer);
    wave.show(answer.peaks, answer.duration);
    shown(pieces);
    const count = pieces.reduce((sum, piece) => sum + piece.words.length, 0);
    say(`${given.name}: ${count} words${answer.warning ? `. ${answer.warning}` : ""}`);
    await store.keepPieces(pieces);
    await store.keepSession({ file: given, peaks: answer.peaks, seconds: answer.duration });
  } catch (error) {
    if (error.name !== "AbortError") complain(error.message);
  }
}

async function record() {
  complain("");
  shown([]);
  $("player").hidden = true;
  const recorder = new Recorder(), waiting = [];
  const socket = live(said);
  socket.onopen = () => {
    const input = { format: { type: "audio/pcm", rate: RATE } };
    socket.send(JSON.stringify({ type: "session.update", session: { type: "transcription", audio: { input }, include: ["tentative"] } }));
    waiting.splice(0).forEach(sent);
  };
  socket.onerror = () => complain("The live session cannot be opened; has the server room for it, and does the key fit?");
  const sent = (samples) => socket.send(JSON.stringify({ type: "input_audio_buffer.append", audio: base64(samples) }));
  try {
    await recorder.start((samples) => (socket.readyState === WebSocket.OPEN ? sent(samples) : waiting.push(samples)));
  } catch (error) {
    socket.close();
    complain(`The microphone cannot be used: ${error.message}`);
    return;
  }
  recording = { recorder, socket, pieces: [] };
  $("record").setAttribute("aria-pressed", "true");
  $("record").textContent = "Stop";
  say("Listening: speak");
}

const ITEM = "conversation.item.input_audio_transcription";

function said(event) {
  if (event.type === "error") complain(event.error.message);
  else if (event.type === `${ITEM}.delta`) $("live").textContent += event.delta;
  else if (event.type === `${ITEM}.tentative`) $("tentative").textContent = event.text;
  else if (event.type === `${ITEM}.completed`) {
    $("live").textContent = $("tentative").textContent = "";
    if (!event.words.length) return;
    const words = event.words.map(({ text, ...rest }) => ({ word: text, ...rest }));
    const piece = { start: words[0].start, end: words.at(-1).end, words };
    transcript.add(piece);
    store.keepPiece(transcript.pieces.length - 1, piece);
    $("tools").hidden = $("clear").hidden = false;
  }
}

async function stopRecording() {
  const { recorder, socket } = recording;
  recording = null;
  $("record").setAttribute("aria-pressed", "false");
  $("record").textContent = "Record";
  const given = await recorder.stop();
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "input_audio_buffer.commit" }));
  setTimeout(() => socket.close(), 5000);
  say("Recorded");
  opened(given, outline(await given.slice(44).arrayBuffer()), (given.size - 44) / 2 / RATE);
  await store.keepSession({ file: given, peaks: null, seconds: wave.seconds });
}

function outline(buffer) {
  const samples = new Int16Array(buffer), step = Math.max(480, Math.ceil(samples.length / 10000));
  let data = "";
  for (let at = 0; at < samples.length; at += step) {
    const part = samples.subarray(at, at + step);
    for (const value of [Math.min(...part), Math.max(...part)]) data += String.fromCharCode((value >> 8) & 255);
  }
  return { rate: RATE / step, data: btoa(data) };
}

async function download(format) {
  const words = transcript.pieces.flatMap((piece) => piece.words);
  const name = file?.name.replace(/\.[^.]*$/, "") || "recording";
  let content;
  if (format === "text") content = transcript.pieces.map((piece) => textOf(piece)).join("\n") + "\n";
  else if (format === "json") content = JSON.stringify({ name: file?.name, pieces: transcript.pieces }, null, 2) + "\n";
  else content = await written(words, format, name);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/plain" }));
  link.download = `${name}.${format === "text" ? "txt" : format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function keyed(event) {
  const typing = event.target.isContentEditable || event.target.matches?.("input");
  if (event.key === "Escape" && !typing && !$("help").open) audio.paused ? audio.play().catch(() => {}) : audio.pause();
  else if (event.altKey && event.key === "ArrowLeft") audio.currentTime -= 3;
  else if (event.altKey && event.key === "ArrowRight") audio.currentTime += 3;
  else if (event.altKey && event.key === "ArrowUp") audio.playbackRate = Math.min(3, audio.playbackRate + 0.25);
  else if (event.altKey && event.key === "ArrowDown") audio.playbackRate = Math.max(0.5, audio.playbackRate - 0.25);
  else if (event.altKey && event.code === "KeyN") transcript.nextDoubt();
  else if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typing) undo();
  else if (event.key === "?" && !typing) $("help").showModal();
  else return;
  event.preventDefault();
}

function undo() {
  const number = transcript.undo();
  $("undo").disabled = !transcript.undone.length;
  say(number === undefined ? "Nothing to undo" : "Undone");
}

function follow() {
  transcript.follow(audio.currentTime);
  wave.draw();
  if (!audio.paused) requestAnimationFrame(follow);
}

async function begin() {
  $("secure").hidden = isSecureContext;
  $("record").disabled = !isSecureContext;
  $("key").value = key.get();
  models().then((found) => { $("model").textContent = found[0].id; }, (error) => complain(error.message));
  const kept = await store.restore().catch((error) => {
    complain(`What was kept here cannot be read: ${error.message}`);
    return { pieces: [] };
  });
  if (kept.file) opened(kept.file, kept.peaks, kept.seconds);
  if (kept.pieces.length) {
    shown(kept.pieces);
    say(`${kept.file?.name ?? "Recording"}: as you left it`);
  }
}

$("file").addEventListener("change", (event) => { if (event.target.files[0]) heard(event.target.files[0]); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) heard(event.dataTransfer.files[0]);
  });
}
$("record").addEventListener("click", () => (recording ? stopRecording() : record()));
$("key").addEventListener("change", (event) => { key.set(event.target.value); location.reload(); });
$("clear").addEventListener("click", async () => { await store.forget(); location.reload(); });
$("next-doubt").addEventListener("click", () => transcript.nextDoubt() ?? say("No doubtful word"));
$("undo").addEventListener("click", undo);
$("compare").addEventListener("click", (event) => {
  const on = event.target.getAttribute("aria-pressed") !== "true";
  event.target.setAttribute("aria-pressed", String(on));
  transcript.compare(on);
});
document.querySelectorAll("[data-format]").forEach((button) => {
  button.addEventListener("click", () => download(button.dataset.format).catch((error) => complain(error.message)));
});
$("help-button").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
document.addEventListener("keydown", keyed);
audio.addEventListener("play", follow);
audio.addEventListener("seeked", follow);
begin();
