// What a person has done, kept in the browser at once: a reload loses nothing.
// One database with two tables: `session` (the file, its outline, its name) and `pieces` (a paragraph each, by number).

const NAME = "wav2vec2";

function asked(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

let opened;

function database() {
  opened ??= (() => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("session");
      request.result.createObjectStore("pieces");
    };
    return asked(request);
  })();
  return opened;
}

async function table(name, mode) {
  return (await database()).transaction(name, mode).objectStore(name);
}

export async function keepSession(values) {
  const session = await table("session", "readwrite");
  await Promise.all(Object.entries(values).map(([key, value]) => asked(session.put(value, key))));
}

// The database takes longer than a key press may, and what is typed last must outlive a page that is closed before it
// was asked: a paragraph is kept beside it at once, and goes into it when nothing was typed for a moment.
const LAST = "wav2vec2-typed", PAUSE = 400;
let typed = {}, timer;

function keepTyped() {
  if (Object.keys(typed).length) localStorage.setItem(LAST, JSON.stringify(typed));
  else localStorage.removeItem(LAST);
}

async function saveTyped() {
  const saved = { ...typed };
  const pieces = await table("pieces", "readwrite");
  await Promise.all(Object.entries(saved).map(([number, piece]) => asked(pieces.put(piece, Number(number)))));
  for (const number in saved) if (typed[number] === saved[number]) delete typed[number];
  keepTyped();
}

export function keepPiece(number, piece) {
  typed[number] = piece;
  keepTyped();
  clearTimeout(timer);
  timer = setTimeout(saveTyped, PAUSE);
}

export async function keepPieces(pieces) {
  clearTimeout(timer);
  typed = {};
  keepTyped();
  const kept = await table("pieces", "readwrite");
  await asked(kept.clear());
  await Promise.all(pieces.map((piece, number) => asked(kept.put(piece, number))));
}

export async function restore() {
  const session = await table("session", "readonly");
  const keys = await asked(session.getAllKeys());
  const values = await asked((await table("session", "readonly")).getAll());
  const pieces = await asked((await table("pieces", "readonly")).getAll());
  typed = JSON.parse(localStorage.getItem(LAST) ?? "{}");
  for (const number in typed) if (number <= pieces.length) pieces[number] = typed[number];
  if (Object.keys(typed).length) await saveTyped();
  return { ...Object.fromEntries(keys.map((key, place) => [key, values[place]])), pieces };
}

export async function forget() {
  clearTimeout(timer);
  typed = {};
  keepTyped();
  for (const name of ["session", "pieces"]) await asked((await table(name, "readwrite")).clear());
}
