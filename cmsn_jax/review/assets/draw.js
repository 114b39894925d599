'use strict';
// Draws a recording over time on one canvas, in as much detail as fits.

const LEFT = 86;
const AXIS = 18;
const OVERVIEW = 20;
const STAGE_AREA = 30;
const CURVE = 17;
const KEPT_ROW = 20;
// More boxes than this at once are a shape, not boxes.
const MOST_BOXES = 1500;

class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext('2d');
    this.from = 0;
    this.to = 1;
    this.time = 0;
    this.threshold = 0;
    this.selected = new Set();
    this.mark = null;
    this.drag = null;
    this.showRejected = false;
    this.stages = null;
    this.curves = null;
    this.dirty = false;
    this.drawn = 0;
    this.kind = '';
  }

  get left() {
    return this.width < 620 ? 0 : LEFT;
  }

  x(time) {
    return this.left + ((time - this.from) / (this.to - this.from)) *
      (this.width - this.left);
  }

  timeAt(x) {
    return this.from + ((x - this.left) / (this.width - this.left)) *
      (this.to - this.from);
  }

  // Many changes in one frame are one drawing.
  request() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => {
      this.dirty = false;
      if (this.recording) this.draw();
    });
  }

  layout() {
    const named = this.left > 0;
    let y = 2;
    this.tracks = {};
    const add = (name, title, height, gap = 8) => {
      if (!named && title) y += 13;
      this.tracks[name] = { title, y, height };
      y += height + gap;
    };
    add('overview', '', OVERVIEW, 4);
    add('axis', '', AXIS, 2);
    add('seen', 'Looked at', 6, 9);
    if (this.stages) add('stages', 'Stages', 7 + STAGE_AREA);
    if (this.curves && this.curves.curves.length)
      add('curves', 'Features', this.curves.curves.length * CURVE);
    const rows = clamp(this.recording.kept.laneCount, 1, 5);
    add('kept', 'Annotated', rows * KEPT_ROW);
    add('open', 'Proposals', Math.max(46, this.height - y - 4), 0);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    this.width = clientWidth;
    this.height = clientHeight;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.request();
  }

  draw() {
    if (!this.width) return;
    const { pen } = this;
    this.layout();
    pen.clearRect(0, 0, this.width, this.height);
    this.drawTitles();
    this.drawOverview(this.tracks.overview);
    pen.save();
    pen.beginPath();
    pen.rect(this.left, this.tracks.axis.y, this.width - this.left, this.height);
    pen.clip();
    this.drawAxis(this.tracks.axis);
    this.drawSeen(this.tracks.seen);
    if (this.tracks.stages) this.drawStages(this.tracks.stages);
    if (this.tracks.curves) this.drawCurves(this.tracks.curves);
    this.drawSelection();
    this.drawKept(this.tracks.kept);
    this.drawOpen(this.tracks.open);
    this.drawMarks();
    this.drawHead();
    pen.restore();
    this.drawn++;
  }

  font(size, weight = '') {
    return `${weight} ${size}px ${fontFamily}`.trim();
  }

  drawTitles() {
    const { pen } = this;
    pen.font = this.font(11.5);
    pen.fillStyle = palette.muted;
    pen.textAlign = 'left';
    pen.textBaseline = 'middle';
    for (const { title, y, height } of Object.values(this.tracks))
      if (title) {
        if (this.left) pen.fillText(title, 0, y + Math.min(height, 22) / 2);
        else pen.fillText(title, 2, y - 7);
      }
  }

  // The whole recording in one strip, and the window that is shown of it.
  drawOverview(track) {
    const { pen, recording } = this;
    const wide = this.width - this.left;
    const at = (time) => this.left + (time / recording.duration) * wide;
    pen.fillStyle = palette.panel;
    pen.fillRect(this.left, track.y, wide, track.height);
    if (this.strip !== recording.number || this.stripWide !== wide ||
        this.stripAbove !== this.threshold) this.countStrip(wide);
    const tall = track.height - 3;
    pen.fillStyle = palette.accent;
    pen.globalAlpha = 0.4;
    for (let i = 0; i < wide; i++)
      if (this.counts[i]) {
        const h = Math.max(1, tall * this.counts[i] / this.most);
        pen.fillRect(this.left + i, track.y + track.height - h, 1, h);
      }
    pen.globalAlpha = 1;
    pen.fillStyle = palette.good;
    recording.kept.within(0, recording.duration, (i) =>
      pen.fillRect(at(recording.kept.starts[i]), track.y + 1, Math.max(1,
        at(recording.kept.ends[i]) - at(recording.kept.starts[i])), 4));
    const [from, to] = [at(this.from), at(this.to)];
    pen.fillStyle = palette.bg;
    pen.globalAlpha = 0.55;
    pen.fillRect(this.left, track.y, from - this.left, track.height);
    pen.fillRect(to, track.y, this.width - to, track.height);
    pen.globalAlpha = 1;
    pen.strokeStyle = palette.muted;
    pen.lineWidth = 1.25;
    pen.strokeRect(from + 0.5, track.y + 0.5, Math.max(3, to - from - 1),
      track.height - 1);
    pen.fillStyle = palette.ink;
    pen.fillRect(at(this.time) - 0.5, track.y, 1.5, track.height);
  }

  countStrip(wide) {
    const { open, duration, number } = this.recording;
    const steps = new Float32Array(Math.ceil(wide) + 2);
    for (let i = 0; i < open.starts.length; i++) {
      if (open.scores[i] < this.threshold) continue;
      steps[Math.floor(open.starts[i] / duration * wide)]++;
      steps[Math.floor(open.ends[i] / duration * wide) + 1]--;
    }
    this.most = 1;
    for (let i = 1; i < steps.length; i++) steps[i] += steps[i - 1];
    for (const count of steps) this.most = Math.max(this.most, count);
    this.counts = steps;
    [this.strip, this.stripWide, this.stripAbove] = [number, wide, this.threshold];
  }

  drawAxis(track) {
    const { pen } = this;
    const { found, digits } = timeTicks(this.from, this.to,
      (this.width - this.left) / 80);
    pen.font = this.font(11);
    pen.textBaseline = 'middle';
    pen.textAlign = 'left';
    for (const time of found) {
      const x = Math.round(this.x(time));
      pen.fillStyle = palette.rule;
      pen.fillRect(x, track.y + track.height, 1, this.height);
      pen.fillStyle = palette.muted;
      const text = clock(time, digits);
      const half = pen.measureText(text).width / 2;
      pen.fillText(text, clamp(x - half, this.left, this.width - 2 * half),
        track.y + 9);
    }
  }

  drawSeen(track) {
    const { pen } = this;
    pen.fillStyle = palette.panel;
    pen.fillRect(this.left, track.y, this.width - this.left, track.height);
    pen.fillStyle = palette.seen;
    for (const [start, end] of this.recording.seen) {
      if (end < this.from || start > this.to) continue;
      const x = this.x(start);
      pen.fillRect(x, track.y, Math.max(1, this.x(end) - x), track.height);
    }
  }

  drawStages(track) {
    const { pen, stages } = this;
    const rate = this.recording.stageRate;
    const perPixel = ((this.to - this.from) * rate) / (this.width - this.left);
    const level = stages.level(perPixel);
    const base = track.y + 7;
    const last = Math.min(this.width, this.x(stages.count / rate));
    for (let x = this.left; x < last; x++) {
      const t = Math.floor(this.timeAt(x) * rate / level.size);
      if (t < 0 || t >= level.tops.length) continue;
      pen.fillStyle = palette.stages[level.tops[t]];
      pen.fillRect(x, track.y, 1, 6);
      const tall = (STAGE_AREA * level.action[t]) / 255;
      pen.globalAlpha = 0.55;
      pen.fillRect(x, base + STAGE_AREA - tall, 1, tall);
      pen.globalAlpha = 1;
    }
  }

  drawCurves(track) {
    const { pen } = this;
    const { from, step, curves } = this.curves;
    curves.forEach((curve, k) => {
      const y = track.y + k * CURVE;
      const at = (value) => y + 1 + (CURVE - 3) * (1 - value / 255);
      pen.fillStyle = k % 2 ? palette.faint : palette.accent;
      pen.globalAlpha = 0.8;
      for (let i = 0; i < curve.low.length; i++) {
        const x = this.x(from + i * step);
        const wide = this.x(from + (i + 1) * step) - x;
        if (x > this.width || x + wide < this.left) continue;
        const next = i + 1 < curve.low.length ? i + 1 : i;
        const high = Math.max(curve.high[i], curve.low[next]);
        const low = Math.min(curve.low[i], curve.high[next]);
        pen.fillRect(x, at(high), Math.max(1, wide), at(low) - at(high) + 1);
      }
      pen.globalAlpha = 1;
    });
  }

  drawSelection() {
    const { pen } = this;
    for (const key of this.selected) {
      const span = this.spanOf(key);
      if (!span) continue;
      const x = this.x(span[0]);
      pen.fillStyle = palette.accent;
      pen.globalAlpha = 0.1;
      pen.fillRect(x, this.tracks.axis.y + AXIS, this.x(span[1]) - x, this.height);
      pen.globalAlpha = 1;
    }
  }

  // As it is dragged, else as it is.
  spanOf(key) {
    if (this.drag && this.drag.key === key) return [this.drag.start, this.drag.end];
    const item = this.recording.items.get(key);
    return item ? [item.start, item.end] : null;
  }

  box(item, y, tall, colour, alpha) {
    const { pen } = this;
    const [start, end] = this.spanOf(item.key);
    const x = this.x(start);
    const wide = Math.max(2, this.x(end) - x);
    if (x > this.width || x + wide < this.left) return;
    pen.globalAlpha = alpha;
    pen.fillStyle = colour;
    if (tall > 6 && wide > 5) {
      pen.beginPath();
      pen.roundRect(x + 0.5, y, wide - 1, tall, 3);
      pen.fill();
    } else pen.fillRect(x, y, Math.max(1, wide - 0.75), tall);
    pen.globalAlpha = 1;
    if (this.selected.has(item.key)) {
      pen.strokeStyle = palette.ink;
      pen.lineWidth = 2;
      pen.strokeRect(x, y - 1, wide, tall + 2);
      pen.fillStyle = palette.ink;
      for (const edge of [x, x + wide])
        pen.fillRect(edge - 2, y + tall / 2 - 5, 4, 10);
    }
    const left = Math.max(x, this.left) + 5;
    const room = Math.min(x + wide, this.width) - left - 4;
    if (tall > 12 && room > 16) {
      const words = item.label || (item.score === null ? 'unnamed'
        : item.score.toFixed(2));
      pen.font = this.font(11.5);
      pen.textAlign = 'left';
      pen.textBaseline = 'middle';
      pen.fillStyle = alpha > 0.6 ? palette['on-accent'] : palette.ink;
      pen.fillText(shortened(words, room, 11.5), left, y + tall / 2 + 0.5);
    }
  }

  drawKept(track) {
    const { kept } = this.recording;
    const rows = Math.max(1, Math.min(5, kept.laneCount));
    if (this.coarse(kept, track, palette.good, -Infinity)) return;
    kept.within(this.from, this.to, (i) => {
      const item = kept.items[i];
      const y = track.y + Math.min(kept.lanes[i], rows - 1) * KEPT_ROW;
      this.box(item, y, KEPT_ROW - 3,
        item.status === 'given' ? palette.truth : palette.good, 1);
    });
  }

  // In place of too many boxes: how many lie over each column.
  coarse(spans, track, colour, threshold) {
    let count = 0;
    spans.within(this.from, this.to, (i) => {
      if (spans.scores[i] >= threshold) count++;
    });
    if (count <= MOST_BOXES) return false;
    const { pen } = this;
    const wide = Math.ceil(this.width - this.left);
    const steps = new Float32Array(wide + 2);
    const best = new Float32Array(wide + 1);
    const scale = wide / (this.to - this.from);
    spans.within(this.from, this.to, (i) => {
      if (spans.scores[i] < threshold) return;
      const a = Math.max(0, Math.floor((spans.starts[i] - this.from) * scale));
      const b = Math.min(wide, Math.floor((spans.ends[i] - this.from) * scale));
      steps[a]++;
      steps[b + 1]--;
      if (spans.scores[i] > best[a]) best[a] = spans.scores[i];
    });
    let most = 1;
    for (let i = 1; i <= wide; i++) {
      steps[i] += steps[i - 1];
      if (steps[i] > most) most = steps[i];
    }
    pen.fillStyle = colour;
    const top = this.recording.high;
    for (let i = 0; i <= wide; i++) {
      if (!steps[i]) continue;
      const tall = Math.max(2, (track.height - 4) * steps[i] / most);
      pen.globalAlpha = 0.3 + 0.7 * clamp(best[i] / top, 0, 1);
      pen.fillRect(this.left + i, track.y + track.height - tall, 1, tall);
    }
    pen.globalAlpha = 1;
    this.kind = 'shape';
    return true;
  }

  drawOpen(track) {
    const { open, rejected, high } = this.recording;
    this.kind = 'boxes';
    if (open.packed !== this.threshold) open.pack(this.threshold);
    const rows = Math.max(1, open.laneCount + (this.showRejected
      ? rejected.laneCount : 0));
    this.row = clamp(track.height / rows, 3, 19);
    if (!this.coarse(open, track, palette.accent, this.threshold))
      open.within(this.from, this.to, (i) => {
        if (open.scores[i] < this.threshold) return;
        const y = track.y + open.lanes[i] * this.row;
        if (y > this.height) return;
        this.box(open.items[i], y, this.row - (this.row > 6 ? 3 : 1),
          palette.accent, 0.25 + 0.75 * clamp(open.scores[i] / high, 0, 1));
      });
    if (this.showRejected)
      rejected.within(this.from, this.to, (i) => this.box(rejected.items[i],
        track.y + (open.laneCount + rejected.lanes[i]) * this.row,
        Math.max(2, this.row - 3), palette.bad, 0.35));
  }

  drawMarks() {
    if (this.mark === null) return;
    const { pen } = this;
    const [a, b] = [this.x(this.mark), this.x(this.time)].sort((p, q) => p - q);
    pen.fillStyle = palette.good;
    pen.globalAlpha = 0.22;
    pen.fillRect(a, this.tracks.kept.y - 3, Math.max(2, b - a),
      this.tracks.kept.height + 3);
    pen.globalAlpha = 1;
    pen.fillRect(this.x(this.mark) - 1, this.tracks.axis.y + AXIS, 2, this.height);
  }

  drawHead() {
    const { pen } = this;
    const x = this.x(this.time);
    pen.fillStyle = palette.ink;
    pen.fillRect(x - 0.75, this.tracks.axis.y + AXIS - 2, 1.5, this.height);
    pen.beginPath();
    pen.moveTo(x - 5, this.tracks.axis.y + AXIS - 6);
    pen.lineTo(x + 5, this.tracks.axis.y + AXIS - 6);
    pen.lineTo(x, this.tracks.axis.y + AXIS + 2);
    pen.fill();
  }
}
