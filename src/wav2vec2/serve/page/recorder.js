// The microphone, as 16-bit samples at 24 kHz, by an AudioWorklet; what was recorded is a WAV file at the end.

export const RATE = 24000;

export class Recorder {
  async start(taken) {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext({ sampleRate: RATE });
    await this.context.audioWorklet.addModule("page/worklet.js");
    this.node = new AudioWorkletNode(this.context, "samples");
    this.parts = [];
    this.node.port.onmessage = (message) => {
      const samples = new Int16Array(message.data);
      this.parts.push(samples);
      taken(samples);
    };
    this.context.createMediaStreamSource(this.stream).connect(this.node);
  }

  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    return wav(this.parts);
  }
}

export function base64(samples) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function wav(parts) {
  const count = parts.reduce((sum, part) => sum + part.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const letters = (at, text) => [...text].forEach((letter, n) => head.setUint8(at + n, letter.charCodeAt(0)));
  letters(0, "RIFF");
  head.setUint32(4, 36 + 2 * count, true);
  letters(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, RATE, true);
  head.setUint32(28, 2 * RATE, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  letters(36, "data");
  head.setUint32(40, 2 * count, true);
  return new File([head, ...parts], "recording.wav", { type: "audio/wav" });
}
