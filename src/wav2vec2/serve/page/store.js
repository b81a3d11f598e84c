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

// The database takes a moment; what is typed last must outlive a page that is closed in that moment.
const LAST = "wav2vec2-last";

export async function keepPiece(number, piece) {
  const last = JSON.stringify([number, piece]);
  localStorage.setItem(LAST, last);
  await asked((await table("pieces", "readwrite")).put(piece, number));
  if (localStorage.getItem(LAST) === last) localStorage.removeItem(LAST);
}

export async function keepPieces(pieces) {
  localStorage.removeItem(LAST);
  const kept = await table("pieces", "readwrite");
  await asked(kept.clear());
  await Promise.all(pieces.map((piece, number) => asked(kept.put(piece, number))));
}

export async function restore() {
  const session = await table("session", "readonly");
  const keys = await asked(session.getAllKeys());
  const values = await asked((await table("session", "readonly")).getAll());
  const pieces = await asked((await table("pieces", "readonly")).getAll());
  const [number, piece] = JSON.parse(localStorage.getItem(LAST) ?? "[]");
  if (number <= pieces.length) pieces[number] = piece;
  return { ...Object.fromEntries(keys.map((key, place) => [key, values[place]])), pieces };
}

export async function forget() {
  localStorage.removeItem(LAST);
  for (const name of ["session", "pieces"]) await asked((await table(name, "readwrite")).clear());
}
