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
    this.watcher = new ResizeObserver(() => requestAnimationFrame(() => {
      if (this.node.clientWidth !== this.width) this.draw();
    }));
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
    if (this.video.page.has_truth || video.ignore) {
      const packed = video.lanes(this.settings, 'truth');
      const rows = Math.max(1, packed.count);
      const tall = rows > 6 ? Math.max(3, 130 / rows) : 21;
      add('truth', 'Ground truth', rows * tall, { ...packed, tall });
    }
    if (video.stages) add('stages', 'Stages', RIBBON + 3 + AREA);
    const [own, other] = video.page.names;
    const proposals = (name, run) => {
      const packed = video.lanes(this.settings, name);
      const shown = packed.indices.length;
      const rows = Math.max(1, packed.count);
      const tall = clamp(230 / rows, 2, 13);
      const what = shown === 1 ? 'Proposal' : `Top ${shown} proposals`;
      add(name, video.other ? `${run}: ${what.toLowerCase()}` : what,
        Math.max(16, rows * tall), { ...packed, tall, shown });
    };
    proposals('proposals', own);
    if (video.other) proposals('others', other);
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
    this.drawProposals(pen, this.tracks.proposals, false);
    if (this.tracks.others) this.drawProposals(pen, this.tracks.others, true);
    if (this.video.ignore) this.drawIgnored(pen);
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
      const words = !track.title.endsWith(' proposals') ? [track.title]
        : [...track.title.replace(' proposals', '').split(/(?<=:) /), 'proposals'];
      words.forEach((word, i) => pen.fillText(
        shortened(word, this.gutter - 8, 12), 0,
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
    const once = this.onceAPixel(track);
    track.indices.forEach((i, place) => {
      const [start, end, label] = this.video.truth[i];
      const x = this.x(start);
      const wide = Math.max(1.5, this.x(end) - x - 0.75);
      const y = track.y + track.lanes[place] * track.tall;
      const tall = track.tall > 4 ? track.tall - 2 : track.tall - 0.5;
      if (x > this.width || x + wide < this.gutter) return;
      if (wide < 2 && once(track.lanes[place], x)) return;
      const found = best[i] >= this.settings.tiou - SLACK;
      const colour = this.settings.byLabel ? palette.labels[label] : palette.truth;
      if (found || tall < 4) {
        pen.globalAlpha = found ? 1 : 0.4;
        pen.fillStyle = colour;
        pen.fillRect(x, y, wide, tall);
        pen.globalAlpha = 1;
      } else {
        pen.fillStyle = palette.bg;
        pen.fillRect(x, y, wide, tall);
        pen.strokeStyle = colour;
        pen.lineWidth = 1.25;
        pen.setLineDash([3, 2.5]);
        pen.strokeRect(x + 0.6, y + 0.6, Math.max(0.5, wide - 1.2), tall - 1.2);
        pen.setLineDash([]);
      }
      const left = Math.max(x, this.gutter) + 5;
      const room = Math.min(x + wide, this.width) - left - 3;
      if (tall > 12 && room > 18) {
        pen.fillStyle = !found ? palette.ink
          : this.settings.byLabel ? palette['on-label'] : palette['on-truth'];
        const name = this.video.labels[i];
        const text = shortened(name, room, 11.5);
        if (text === name || room > 34)
          pen.fillText(text, left, y + tall / 2 + 0.5);
      }
    });
  }

  // Thousands of bars fall on few pixels when a long video is seen whole: each
  // pixel of a row is painted once. Tells whether that was done before.
  onceAPixel(track) {
    const across = Math.ceil(this.width) + 1;
    const done = new Uint8Array(across * Math.max(1, track.count));
    return (lane, x) => {
      const place = lane * across + clamp(Math.floor(x), 0, across - 1);
      if (done[place]) return true;
      done[place] = 1;
      return false;
    };
  }

  // Spans where nobody looked: hatched over all tracks.
  drawIgnored(pen) {
    const top = this.tracks.truth.y - 3;
    for (const [start, end] of this.video.ignore) {
      const x = Math.max(this.x(start), this.gutter);
      const wide = Math.min(this.x(end), this.width) - x;
      if (wide <= 0) continue;
      pen.save();
      pen.beginPath();
      pen.rect(x, top, wide, this.height - top);
      pen.clip();
      pen.globalAlpha = 0.5;
      pen.fillStyle = palette.panel;
      pen.fillRect(x, top, wide, this.height - top);
      pen.strokeStyle = palette.faint;
      pen.lineWidth = 1;
      pen.beginPath();
      const tall = this.height - top;
      // From a fixed grid, so that the hatching moves with the film.
      for (let at = Math.floor((x - tall) / 8) * 8; at < x + wide; at += 8) {
        pen.moveTo(at, this.height);
        pen.lineTo(at + tall, top);
      }
      pen.stroke();
      pen.restore();
    }
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

  drawProposals(pen, track, other) {
    const list = other ? this.video.others : this.video.proposals;
    const { starts, ends, scores, labels } = list;
    const best = Math.max(1e-9, scores.length ? scores[0] : 0);
    const truth = this.video.page.has_truth;
    if (!track.shown) {
      pen.font = this.font(12);
      pen.fillStyle = palette.muted;
      pen.textAlign = 'left';
      pen.textBaseline = 'middle';
      pen.fillText(list.n
        ? 'no proposal passes the sliders' : 'no proposals for this video',
      this.gutter + 4, track.y + 9);
    }
    const gap = track.tall > 5 ? 2 : track.tall > 3 ? 1 : 0.4;
    const byLabel = this.settings.byLabel && labels;
    const once = this.onceAPixel(track);
    track.indices.forEach((i, place) => {
      const x = this.x(starts[i]);
      const wide = Math.max(1.2, this.x(ends[i]) - x - 0.75);
      const y = track.y + track.lanes[place] * track.tall;
      if (x > this.width || x + wide < this.gutter) return;
      if (wide < 2 && once(track.lanes[place], x)) return;
      const hit = !truth ||
        this.video.tiouOf(this.settings, i, other) >=
          this.settings.tiou - SLACK;
      const strength = clamp(scores[i] / best, 0, 1);
      pen.globalAlpha = byLabel && !hit ? 0.18 + 0.3 * strength
        : 0.3 + 0.7 * strength;
      pen.fillStyle = byLabel ? palette.labels[labels[i]]
        : hit ? palette.accent : palette.other;
      pen.fillRect(x, y, wide, track.tall - gap);
      pen.globalAlpha = 1;
    });
    if (other || this.selected < 0) return;
    const place = track.indices.indexOf(this.selected);
    if (place < 0) return;
    const x = this.x(starts[this.selected]);
    const y = track.y + track.lanes[place] * track.tall;
    pen.strokeStyle = palette.ink;
    pen.lineWidth = 2;
    pen.strokeRect(x - 1, y - 1,
      Math.max(1.2, this.x(ends[this.selected]) - x - 0.75) + 2,
      track.tall - gap + 2);
  }

  placeHead() {
    const x = this.x(this.time);
    const inside = x >= this.gutter - 1 && x <= this.width + 1;
    this.head.style.setProperty('display', inside ? 'block' : 'none');
    this.head.style.setProperty('left', `${x}px`);
  }
}
