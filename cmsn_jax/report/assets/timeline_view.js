'use strict';
// Draws one video over time on a canvas: axis, frames, truth, stages, proposals.

const FRAME_HEIGHT = 46;
const RIBBON = 9;
const AREA = 58;

class TimelineView {
  constructor(video, settings) {
    this.video = video;
    this.settings = settings;
    this.from = 0;
    this.to = video.duration;
    this.time = 0;
    this.selected = -1;
    this.canvas = el('canvas', {});
    this.head = el('div', { class: 'playhead' });
    this.pointer = el('div', { class: 'pointer', hidden: true });
    this.node = el('div', { class: 'timeline', tabindex: 0, role: 'slider',
      'aria-label': `Timeline of ${video.id}`, 'aria-valuemin': 0,
      'aria-valuemax': video.duration.toFixed(2) },
    this.canvas, this.head, this.pointer);
    this.images = (video.frames || []).map(([time, source]) => {
      const image = new Image();
      image.addEventListener('load', () => this.draw());
      image.src = source;
      return { time, image };
    });
    this.watcher = new ResizeObserver(() => {
      if (this.node.clientWidth !== this.width) this.draw();
    });
    this.watcher.observe(this.node);
  }

  close() {
    this.watcher.disconnect();
  }

  get gutter() {
    return this.width < 620 ? 0 : 104;
  }

  x(time) {
    return this.gutter + ((time - this.from) / (this.to - this.from)) *
      (this.width - this.gutter);
  }

  timeAt(x) {
    return clamp(this.from + ((x - this.gutter) / (this.width - this.gutter)) *
      (this.to - this.from), 0, this.video.duration);
  }

  // Track rectangles from top to bottom, and the height of it all.
  layout() {
    const { video } = this;
    const gap = this.gutter ? 12 : 24;
    let y = 22;
    this.tracks = {};
    const add = (name, title, height, extra) => {
      if (!this.gutter) y += 4;
      this.tracks[name] = { title, y, height, ...extra };
      y += height + gap;
    };
    if (!this.gutter) y += 14;
    if (this.images.length) add('frames', 'Frames', FRAME_HEIGHT);
    if (this.video.page.has_truth) {
      const packed = lanesOf(video.truth);
      const rows = Math.max(1, packed.count);
      const tall = rows > 6 ? Math.max(8, 130 / rows) : 21;
      add('truth', 'Ground truth', rows * tall, { ...packed, tall });
    }
    if (video.stages) add('stages', 'Stages', RIBBON + 3 + AREA);
    const count = video.shownCount(this.settings);
    const { starts, ends } = video.proposals;
    const spans = Array.from({ length: count }, (_, i) => [starts[i], ends[i]]);
    const packed = lanesOf(spans);
    const rows = Math.max(1, packed.count);
    const tall = clamp(230 / rows, 2, 13);
    add('proposals', count === 1 ? 'Proposal' : `Top ${count} proposals`,
      Math.max(16, rows * tall), { ...packed, tall, shown: count });
    this.height = y - gap + 6;
  }

  draw() {
    this.width = this.node.clientWidth;
    if (!this.width) return;
    this.layout();
    // Paper has more dots than any screen.
    const printing = document.documentElement.classList.contains('printing');
    const ratio = printing ? 3 : window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.canvas.style.setProperty('height', `${this.height}px`);
    const pen = this.canvas.getContext('2d');
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, this.width, this.height);
    this.drawAxis(pen);
    for (const track of Object.values(this.tracks)) this.drawTitle(pen, track);
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, 0, this.width - this.gutter, this.height);
    pen.clip();
    if (this.tracks.frames) this.drawFrames(pen, this.tracks.frames);
    if (this.tracks.truth) this.drawTruth(pen, this.tracks.truth);
    if (this.tracks.stages) this.drawStages(pen, this.tracks.stages);
    this.drawProposals(pen, this.tracks.proposals);
    pen.restore();
    this.placeHead();
  }

  drawTitle(pen, track) {
    pen.font = this.font(12);
    pen.fillStyle = palette.muted;
    pen.textBaseline = 'middle';
    pen.textAlign = 'left';
    if (!this.gutter) pen.fillText(track.title, 0, track.y - 9);
    else {
      const words = track.title.startsWith('Top')
        ? [track.title.replace(' proposals', ''), 'proposals'] : [track.title];
      words.forEach((word, i) => pen.fillText(word, 0,
        track.y + (track === this.tracks.stages ? RIBBON + 3 + AREA / 2
          : track === this.tracks.truth && track.count < 2 ? track.height / 2
            : 10) + 15 * i));
    }
  }

  font(size) {
    return `${size}px ${fontFamily}`;
  }

  drawAxis(pen) {
    const room = (this.width - this.gutter) / 74;
    const { found, digits } = timeTicks(this.from, this.to, room);
    pen.font = this.font(11);
    pen.textBaseline = 'middle';
    for (const time of found) {
      const x = this.x(time);
      pen.fillStyle = palette.rule;
      pen.fillRect(Math.round(x), 18, 1, this.height - 18);
      pen.fillStyle = palette.muted;
      const text = clock(time, digits);
      const half = pen.measureText(text).width / 2;
      pen.textAlign = 'left';
      pen.fillText(text, clamp(x - half, this.gutter, this.width - 2 * half), 8);
    }
  }

  drawFrames(pen, track) {
    for (const { time, image } of this.images) {
      if (!image.complete || !image.naturalWidth) continue;
      const wide = (track.height * image.naturalWidth) / image.naturalHeight;
      const x = this.x(time);
      pen.drawImage(image, x - wide / 2, track.y, wide, track.height);
    }
  }

  drawTruth(pen, track) {
    const best = this.video.bestOfTruth(this.settings);
    pen.font = this.font(11.5);
    pen.textBaseline = 'middle';
    pen.textAlign = 'left';
    this.video.truth.forEach(([start, end], i) => {
      const x = this.x(start);
      const wide = Math.max(1.5, this.x(end) - x - 0.75);
      const y = track.y + track.lanes[i] * track.tall;
      const tall = track.tall - 2;
      if (x > this.width || x + wide < this.gutter) return;
      const found = best[i] >= this.settings.tiou - SLACK;
      if (found) {
        pen.fillStyle = palette.truth;
        pen.fillRect(x, y, wide, tall);
      } else {
        pen.fillStyle = palette.bg;
        pen.fillRect(x, y, wide, tall);
        pen.strokeStyle = palette.truth;
        pen.lineWidth = 1.25;
        pen.setLineDash([3, 2.5]);
        pen.strokeRect(x + 0.6, y + 0.6, Math.max(0.5, wide - 1.2), tall - 1.2);
        pen.setLineDash([]);
      }
      const label = this.video.labels[i];
      const left = Math.max(x, this.gutter) + 5;
      const room = Math.min(x + wide, this.width) - left - 3;
      if (tall > 12 && room > 18) {
        pen.fillStyle = found ? palette['on-truth'] : palette.ink;
        const text = shortened(label, room, 11.5);
        if (text === label || room > 34)
          pen.fillText(text, left, y + tall / 2 + 0.5);
      }
    });
  }

  // Posterior as stacked areas; the ribbon above shows the likeliest stage.
  drawStages(pen, track) {
    const { posterior, rate } = this.video;
    const total = posterior.length / 6;
    const end = Math.min(this.width, this.x(total / rate));
    const base = track.y + RIBBON + 3;
    // Background last: the action then rises from the base line.
    const order = [1, 2, 3, 4, 5, 0];
    const mean = new Float64Array(6);
    const start = Math.max(this.gutter, Math.floor(this.x(0)));
    for (let x = start; x < end; x++) {
      const first = clamp(Math.floor(this.unclamped(x) * rate), 0, total - 1);
      const last = clamp(Math.ceil(this.unclamped(x + 1) * rate), first + 1, total);
      mean.fill(0);
      for (let t = first; t < last; t++)
        for (let s = 0; s < 6; s++) mean[s] += posterior[6 * t + s];
      let sum = 0;
      let top = 0;
      for (let s = 0; s < 6; s++) {
        sum += mean[s];
        if (mean[s] > mean[top]) top = s;
      }
      let y = base + AREA;
      for (const s of order) {
        const tall = (AREA * mean[s]) / sum;
        pen.fillStyle = palette.stages[s];
        pen.fillRect(x, y - tall, 1, tall);
        y -= tall;
      }
      pen.fillStyle = palette.stages[top];
      pen.fillRect(x, track.y, 1, RIBBON);
    }
  }

  unclamped(x) {
    return this.from + ((x - this.gutter) / (this.width - this.gutter)) *
      (this.to - this.from);
  }

  drawProposals(pen, track) {
    const { starts, ends, scores } = this.video.proposals;
    const best = Math.max(1e-9, scores.length ? scores[0] : 0);
    const truth = this.video.page.has_truth;
    if (!track.shown) {
      pen.font = this.font(12);
      pen.fillStyle = palette.muted;
      pen.textAlign = 'left';
      pen.textBaseline = 'middle';
      pen.fillText(this.video.proposals.n
        ? 'no proposal passes the sliders' : 'no proposals for this video',
      this.gutter + 4, track.y + 9);
    }
    const gap = track.tall > 5 ? 2 : track.tall > 3 ? 1 : 0.4;
    // Best last, so that it is never painted over.
    for (let i = track.shown - 1; i >= 0; i--) {
      const x = this.x(starts[i]);
      const wide = Math.max(1.2, this.x(ends[i]) - x - 0.75);
      const y = track.y + track.lanes[i] * track.tall;
      if (x > this.width || x + wide < this.gutter) continue;
      const hit = !truth || this.video.tiouOf(i) >= this.settings.tiou - SLACK;
      pen.globalAlpha = 0.3 + 0.7 * clamp(scores[i] / best, 0, 1);
      pen.fillStyle = hit ? palette.accent : palette.other;
      pen.fillRect(x, y, wide, track.tall - gap);
      pen.globalAlpha = 1;
      if (i === this.selected) {
        pen.strokeStyle = palette.ink;
        pen.lineWidth = 2;
        pen.strokeRect(x - 1, y - 1, wide + 2, track.tall - gap + 2);
      }
    }
  }

  placeHead() {
    const x = this.x(this.time);
    const inside = x >= this.gutter - 1 && x <= this.width + 1;
    this.head.style.setProperty('display', inside ? 'block' : 'none');
    this.head.style.setProperty('left', `${x}px`);
  }
}
