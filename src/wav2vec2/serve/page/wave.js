// The outline of the sound, and where in it the player stands; a click jumps.

export class Wave {
  constructor(canvas, audio) {
    this.canvas = canvas;
    this.audio = audio;
    this.peaks = new Int8Array(0);
    this.seconds = 0;
    canvas.addEventListener("click", (event) => {
      const share = event.offsetX / canvas.clientWidth;
      if (this.seconds) audio.currentTime = share * this.seconds;
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // peaks: { rate, data } as the server gives them: pairs of signed bytes, low and high, in base64.
  show(peaks, seconds) {
    const bytes = atob(peaks?.data ?? "");
    this.peaks = Int8Array.from(bytes, (letter) => (letter.charCodeAt(0) << 24) >> 24);
    this.seconds = seconds;
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const pen = this.canvas.getContext("2d"), style = getComputedStyle(this.canvas);
    pen.scale(ratio, ratio);
    const count = this.peaks.length / 2, middle = height / 2;
    const heard = this.seconds ? (this.audio.currentTime / this.seconds) * width : 0;
    for (let x = 0; x < width && count; x++) {
      const from = Math.floor((x / width) * count), to = Math.max(from + 1, Math.floor(((x + 1) / width) * count));
      let low = 0, high = 0;
      for (let at = from; at < to; at++) {
        low = Math.min(low, this.peaks[2 * at]);
        high = Math.max(high, this.peaks[2 * at + 1]);
      }
      pen.fillStyle = style.getPropertyValue(x < heard ? "--accent" : "--line");
      pen.fillRect(x, middle - (high / 127) * middle, 1, Math.max(1, ((high - low) / 127) * middle));
    }
  }
}
