// Runs beside the sound: collects a tenth of a second of samples, and posts them as 16-bit integers.

class Samples extends AudioWorkletProcessor {
  constructor() {
    super();
    this.kept = new Int16Array(2400);
    this.count = 0;
  }

  process([[channel]]) {
    for (const sample of channel ?? []) {
      this.kept[this.count++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      if (this.count === this.kept.length) {
        this.port.postMessage(this.kept.buffer.slice(0));
        this.count = 0;
      }
    }
    return true;
  }
}

registerProcessor("samples", Samples);
