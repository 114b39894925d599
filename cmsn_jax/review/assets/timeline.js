'use strict';
// What mouse, wheel and fingers do on the timeline.

const EDGE = 7;
const FINGER_EDGE = 18;
const LEAST_SPAN = 0.25;

// `on` is told: seek(time), select(key or null, more), change(key, start, end),
// add(start, end), view().
class Timeline extends Drawing {
  constructor(node, on) {
    super(node.querySelector('canvas'));
    this.node = node;
    this.on = on;
    this.fingers = new Map();
    new ResizeObserver(() => this.resize()).observe(node);
    this.listen();
  }

  open(recording) {
    this.recording = recording;
    this.stages = null;
    this.curves = null;
    this.mark = null;
    this.drag = null;
    this.selected = new Set();
    this.time = 0;
    this.strip = null;
    this.threshold = recording.usefulThreshold();
    this.from = 0;
    this.to = recording.duration;
    this.resize();
    this.loadDetail();
  }

  async loadDetail() {
    const { recording } = this;
    if (recording.stageRate) {
      const bytes = await api.bytes(recordingPath('stages', recording.id));
      if (this.recording === recording) this.stages = new Stages(bytes);
    }
    if (recording.hasCurves) await this.loadCurves();
    this.request();
  }

  // Curves of what is shown and a window to either side.
  async loadCurves() {
    const { recording } = this;
    const span = this.to - this.from;
    const from = Math.max(0, this.from - span);
    const to = Math.min(recording.duration, this.to + span);
    this.curveView = [from, to, span];
    const points = Math.round(clamp(3 * (this.width || 1000), 300, 4000));
    const found = await api.get(`${recordingPath('curves', recording.id)}` +
      `?from=${from}&to=${to}&points=${points}`);
    if (this.recording !== recording || this.curveView[0] !== from ||
        this.curveView[1] !== to) return;
    this.curves = found;
    this.request();
  }

  show(from, to) {
    const { duration } = this.recording;
    const span = clamp(to - from, Math.min(LEAST_SPAN, duration), duration);
    this.from = clamp(from, 0, duration - span);
    this.to = this.from + span;
    if (this.curves && (this.from < this.curveView[0] ||
        this.to > this.curveView[1] || span < this.curveView[2] / 2 ||
        span > this.curveView[2] * 1.9)) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.loadCurves().catch(() => {}), 120);
    }
    this.on.view();
    this.request();
  }

  zoom(factor, around = this.time) {
    const centre = clamp(around, this.from, this.to);
    const left = (centre - this.from) * factor;
    this.show(centre - left, centre - left + (this.to - this.from) * factor);
  }

  // A segment with half its length on either side: what counts as looked at.
  focus(start, end) {
    const half = Math.max((end - start) / 2, 0.5);
    this.show(start - half * 1.3, end + half * 1.3);
  }

  follow(time) {
    this.time = time;
    const span = this.to - this.from;
    if (time > this.to || time < this.from)
      this.show(time - span * 0.1, time + span * 0.9);
    this.request();
  }

  // The item under a point, and which of its borders, if any.
  hit(x, y) {
    const { recording, tracks } = this;
    if (!tracks || x < this.left) return null;
    for (const key of this.selected) {
      const span = this.spanOf(key);
      const track = span && (recording.items.get(key).status === 'open'
        ? tracks.open : tracks.kept);
      if (!track || y < track.y - 4 || y > track.y + track.height) continue;
      const [a, b] = [this.x(span[0]), this.x(span[1])];
      const near = Math.min(this.touched ? FINGER_EDGE : EDGE, Math.max(3, (b - a) / 3));
      if (Math.abs(x - a) <= near) return { key, edge: 'start' };
      if (Math.abs(x - b) <= near) return { key, edge: 'end' };
    }
    const time = this.timeAt(x);
    const slack = (3 * (this.to - this.from)) / (this.width - this.left);
    const within = (spans, track, row, threshold) => {
      let best = null;
      let distance = Infinity;
      if (y < track.y - 2 || y > track.y + track.height) return null;
      spans.within(time - slack, time + slack, (i) => {
        if (spans.scores[i] < threshold) return;
        const off = Math.abs(track.y + (spans.lanes[i] + 0.5) * row - y);
        if (off < distance && off <= row) {
          distance = off;
          best = spans.items[i];
        }
      });
      return best;
    };
    const item = within(recording.kept, tracks.kept, KEPT_ROW, -Infinity) ||
      within(recording.open, tracks.open, this.row || 10, this.threshold) ||
      (this.showRejected ? within(recording.rejected, {
        y: tracks.open.y + recording.open.laneCount * this.row,
        height: recording.rejected.laneCount * this.row,
      }, this.row, -Infinity) : null);
    return item ? { key: item.key, edge: null } : null;
  }

  begin(event, x, y) {
    const { tracks } = this;
    if (tracks && y < tracks.axis.y) {
      this.gesture = { kind: 'overview' };
      this.toOverview(x);
      return;
    }
    const hit = this.hit(x, y);
    if (event.shiftKey && !hit && this.on.may()) {
      const time = this.recording.snap(this.timeAt(x));
      this.gesture = { kind: 'new', from: time };
      this.mark = time;
      this.time = time;
    } else if (hit && hit.edge && this.on.may()) {
      const [start, end] = this.spanOf(hit.key);
      this.gesture = { kind: 'edge', edge: hit.edge };
      this.drag = { key: hit.key, start, end };
    } else this.gesture = { kind: 'pan', x, from: this.from, hit, moved: false };
  }

  toOverview(x) {
    const time = ((x - this.left) / (this.width - this.left)) *
      this.recording.duration;
    const half = (this.to - this.from) / 2;
    this.show(time - half, time + half);
  }

  move(event, x, y) {
    const { gesture } = this;
    if (!gesture) {
      const hit = this.hit(x, y);
      this.node.style.setProperty('cursor', hit && hit.edge ? 'ew-resize'
        : hit ? 'pointer' : 'default');
      this.tell(event, hit);
      return;
    }
    tooltip.hide();
    const time = this.recording.snap(this.timeAt(x));
    const frame = 1 / this.recording.fps;
    if (gesture.kind === 'overview') this.toOverview(x);
    else if (gesture.kind === 'edge') {
      const { drag } = this;
      if (gesture.edge === 'start') drag.start = Math.min(time, drag.end - frame);
      else drag.end = Math.max(time, drag.start + frame);
      this.on.preview(gesture.edge === 'start' ? drag.start : drag.end - frame);
    } else if (gesture.kind === 'new') this.time = time;
    else {
      const moved = x - gesture.x;
      if (Math.abs(moved) > 4) gesture.moved = true;
      if (gesture.moved) {
        const shift = (moved / (this.width - this.left)) * (this.to - this.from);
        this.show(gesture.from - shift, gesture.from - shift + this.to - this.from);
      }
    }
    this.request();
  }

  finish(event, x) {
    const { gesture } = this;
    this.gesture = null;
    if (!gesture) return;
    if (gesture.kind === 'edge') {
      const { key, start, end } = this.drag;
      const item = this.recording.items.get(key);
      if (item && (item.start !== start || item.end !== end))
        this.on.change(key, start, end).finally(() => {
          this.drag = null;
          this.request();
        });
      else this.drag = null;
    } else if (gesture.kind === 'new') {
      const [a, b] = [this.mark, this.time].sort((p, q) => p - q);
      this.mark = null;
      if (b - a >= 1 / this.recording.fps) this.on.add(a, b);
    } else if (gesture.kind === 'pan' && !gesture.moved) {
      if (gesture.hit) this.on.select(gesture.hit.key, event.shiftKey);
      else if (x >= this.left) {
        this.on.select(null);
        this.on.seek(this.recording.snap(this.timeAt(x)));
      }
    }
    this.request();
  }

  tell(event, hit) {
    const item = hit && this.recording.items.get(hit.key);
    if (!item) {
      tooltip.hide();
      return;
    }
    const lines = [el('b', {}, item.label || 'unnamed'),
      `${clock(item.start, 2)} – ${clock(item.end, 2)}, ` +
      `${(item.end - item.start).toFixed(2)} s`];
    if (item.score !== null) lines.push(`score ${item.score.toFixed(3)}`);
    lines.push(item.status === 'given' ? 'from the annotations'
      : item.status === 'open' ? 'proposal' : `${item.status} by ${item.by || '?'}`);
    tooltip.show(event.clientX, event.clientY, lines);
  }

  // Two fingers zoom and move.
  pinch() {
    const [a, b] = [...this.fingers.values()];
    const wide = Math.max(20, Math.abs(a - b));
    const middle = (a + b) / 2;
    if (!this.pinched) {
      this.pinched = { wide, time: this.timeAt(middle), span: this.to - this.from };
      this.gesture = null;
      this.drag = null;
    }
    const span = this.pinched.span * this.pinched.wide / wide;
    const from = this.pinched.time - ((middle - this.left) /
      (this.width - this.left)) * span;
    this.show(from, from + span);
  }

  listen() {
    const local = (event) => {
      const box = this.node.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.node.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || !this.recording) return;
      this.touched = event.pointerType === 'touch';
      this.node.setPointerCapture(event.pointerId);
      const [x, y] = local(event);
      this.fingers.set(event.pointerId, x);
      if (this.fingers.size === 2) this.pinch();
      else this.begin(event, x, y);
    });
    this.node.addEventListener('pointermove', (event) => {
      if (!this.recording) return;
      const [x, y] = local(event);
      if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, x);
      if (this.fingers.size === 2) this.pinch();
      else if (!this.pinched) this.move(event, x, y);
    });
    const up = (event) => {
      this.fingers.delete(event.pointerId);
      if (!this.fingers.size) {
        if (!this.pinched) this.finish(event, local(event)[0]);
        this.pinched = null;
      }
    };
    this.node.addEventListener('pointerup', up);
    this.node.addEventListener('pointercancel', (event) => {
      this.gesture = null;
      this.drag = null;
      up(event);
    });
    this.node.addEventListener('pointerleave', () => tooltip.hide());
    this.node.addEventListener('wheel', (event) => {
      if (!this.recording) return;
      event.preventDefault();
      const span = this.to - this.from;
      if (event.ctrlKey || event.metaKey || event.altKey)
        this.zoom(Math.exp(event.deltaY / 300), this.timeAt(local(event)[0]));
      else {
        const shift = ((event.deltaX || event.deltaY) / this.width) * span;
        this.show(this.from + shift, this.to + shift);
      }
    }, { passive: false });
  }
}
