// Asking the server: a file's transcript as it is known, times of a corrected paragraph, captions, live sessions.

const KEY = "wav2vec2-key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

function headers() {
  return key.get() ? { authorization: `Bearer ${key.get()}` } : {};
}

async function checked(answer) {
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  throw new Error(body?.error?.message ?? `the server answers ${answer.status}`);
}

async function post(path, body, signal) {
  const reached = fetch(path, { method: "POST", body, headers: headers(), signal });
  return checked(await reached.catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("the server cannot be reached");
  }));
}

export async function models() {
  return (await (await checked(await fetch("v1/models", { headers: headers() }))).json()).data;
}

export async function transcribe(file, signal) {
  const form = new FormData();
  form.append("response_format", "verbose_json");
  for (const value of ["word", "segment"]) form.append("timestamp_granularities[]", value);
  for (const value of ["peaks", "greedy"]) form.append("include[]", value);
  form.append("file", file, file.name);
  return (await post("v1/audio/transcriptions", form, signal)).json();
}

export async function align(file, text, start, end) {
  const form = new FormData();
  form.append("text", text);
  form.append("start", start);
  form.append("end", end);
  form.append("file", file, file.name ?? "recording.wav");
  return (await (await post("v1/audio/alignments", form)).json()).words;
}

export async function written(words, format, name) {
  return (await post("v1/audio/captions", JSON.stringify({ words, format, name }))).text();
}

export function live(heard) {
  const address = new URL("v1/realtime?intent=transcription", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const protocols = ["realtime"];
  if (key.get()) protocols.push(`openai-insecure-api-key.${key.get()}`);
  const socket = new WebSocket(address, protocols);
  socket.onmessage = (message) => heard(JSON.parse(message.data));
  return socket;
}
