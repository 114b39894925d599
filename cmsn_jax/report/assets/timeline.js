'use strict';
// What mouse and keys do on a timeline.

// `on` is told: seek(seconds), select(proposal index or -1), read(text),
// toggle(), playSelected().
class Timeline extends TimelineView {
  constructor(video, settings, on) {
    super(video, settings);
    this.on = on;
    this.listen();
  }

  // What lies under a point of the canvas.
  at(x, y) {
    const time = this.timeAt(x);
    const under = (track, startOf, endOf) => {
      if (!track || y < track.y || y > track.y + track.height) return -1;
      const lane = Math.floor((y - track.y) / track.tall);
      // Two pixels of slack make the shortest spans reachable.
      const slack = (2 * (this.to - this.from)) / (this.width - this.gutter);
      for (let place = 0; place < track.indices.length; place++) {
        const i = track.indices[place];
        if (track.lanes[place] === lane && time >= startOf(i) - slack &&
            time <= endOf(i) + slack) return i;
      }
      return -1;
    };
    const ofList = (track, list) => list
      ? under(track, (i) => list.starts[i], (i) => list.ends[i]) : -1;
    const { truth, proposals, others } = this.tracks;
    return {
      time,
      truth: under(truth, (i) => this.video.truth[i][0],
        (i) => this.video.truth[i][1]),
      proposal: ofList(proposals, this.video.proposals),
      other: ofList(others, this.video.others),
    };
  }

  stageAt(time) {
    const { posterior, rate } = this.video;
    if (!posterior) return null;
    const t = clamp(Math.floor(time * rate), 0, posterior.length / 6 - 1);
    const row = posterior.subarray(6 * t, 6 * t + 6);
    const top = row.indexOf(Math.max(...row));
    return { name: this.video.page.stages[top], share: row[top] / 255, row };
  }

  proposalText(i, other = false) {
    const { starts, ends, scores, labels, sure } =
      other ? this.video.others : this.video.proposals;
    const run = this.video.other ? `${this.video.page.names[other ? 1 : 0]}, ` : '';
    const parts = [`${run}proposal ${i + 1}`, `${clock(starts[i])} – ${clock(ends[i])}`,
      `${(ends[i] - starts[i]).toFixed(1)} s`, `score ${scores[i].toFixed(3)}`];
    if (labels)
      parts.splice(1, 0, this.video.page.labels[labels[i]] +
        (sure ? ` (${sure[i].toFixed(2)})` : ''));
    if (this.video.page.has_truth)
      parts.push(
        `tIoU ${this.video.tiouOf(this.settings, i, other).toFixed(2)}`);
    return parts;
  }

  truthText(i) {
    const [start, end] = this.video.truth[i];
    const best = this.video.bestOfTruth(this.settings)[i];
    return [this.video.labels[i], `${clock(start)} – ${clock(end)}`,
      `${(end - start).toFixed(1)} s`,
      best >= this.settings.tiou - SLACK
        ? `found, best tIoU ${best.toFixed(2)}`
        : `missed, best tIoU ${best.toFixed(2)}`];
  }

  describe(point) {
    const lines = [clock(point.time)];
    const stage = this.stageAt(point.time);
    if (stage) lines.push(`${stage.name} ${stage.share.toFixed(2)}`);
    if (point.truth >= 0) lines.push(...this.truthText(point.truth));
    if (point.proposal >= 0) lines.push(...this.proposalText(point.proposal));
    if (point.other >= 0) lines.push(...this.proposalText(point.other, true));
    const ignored = (this.video.ignore || [])
      .some(([start, end]) => point.time >= start && point.time < end);
    if (ignored) lines.push('not looked at: neither right nor wrong');
    return lines;
  }

  seek(time) {
    this.time = clamp(time, 0, this.video.duration);
    if (this.time < this.from || this.time > this.to) {
      const half = (this.to - this.from) / 2;
      this.show(this.time - half, this.time + half);
    }
    this.placeHead();
    this.on.seek(this.time);
    this.tell();
  }

  // The playhead follows the player without seeking it again.
  follow(time) {
    this.time = time;
    if (time > this.to && this.to < this.video.duration)
      this.show(time, time + this.to - this.from);
    this.placeHead();
  }

  select(i) {
    this.selected = i;
    this.on.select(i);
    if (i >= 0) this.seek(this.video.proposals.starts[i]);
    this.draw();
  }

  tell() {
    const parts = [clock(this.time)];
    const stage = this.stageAt(this.time);
    if (stage) parts.push(`${stage.name} ${stage.share.toFixed(2)}`);
    if (this.selected >= 0) parts.push(...this.proposalText(this.selected));
    this.on.read(parts.join('  ·  '));
    this.node.setAttribute('aria-valuenow', this.time.toFixed(2));
    this.node.setAttribute('aria-valuetext', parts.join(', '));
  }

  show(from, to) {
    const span = clamp(to - from, Math.min(0.5, this.video.duration),
      this.video.duration);
    this.from = clamp(from, 0, this.video.duration - span);
    this.to = this.from + span;
    this.draw();
  }

  zoom(factor, around = this.time) {
    const centre = clamp(around, this.from, this.to);
    const left = (centre - this.from) * factor;
    this.show(centre - left, centre - left + (this.to - this.from) * factor);
  }

  step(direction, large) {
    const rate = this.video.rate || 10;
    this.seek(this.time + (direction * (large ? 50 : 5)) / rate);
  }

  // Next or previous proposal in rank, within what is shown.
  stepProposal(direction) {
    const { indices } = this.tracks.proposals;
    if (!indices.length) return;
    const place = indices.indexOf(this.selected) + direction;
    this.select(indices[clamp(place, 0, indices.length - 1)]);
  }

  stepTruth(direction) {
    const starts = this.video.shownTruth(this.settings)
      .map((i) => this.video.truth[i][0]).sort((a, b) => a - b);
    const next = direction > 0
      ? starts.find((start) => start > this.time + 1e-3)
      : starts.reverse().find((start) => start < this.time - 1e-3);
    if (next !== undefined) this.seek(next);
  }

  listen() {
    let drag = null;
    const local = (event) => {
      const box = this.node.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.node.addEventListener('pointerdown', (event) => {
      if (event.button === 0)
        drag = { x: event.clientX, from: this.from, moved: false };
    });
    this.node.addEventListener('pointermove', (event) => {
      const [x, y] = local(event);
      if (drag && event.buttons && this.to - this.from < this.video.duration) {
        const moved = event.clientX - drag.x;
        if (Math.abs(moved) > 4) {
          drag.moved = true;
          const shift = (moved / (this.width - this.gutter)) * (this.to - this.from);
          this.show(drag.from - shift, drag.from - shift + this.to - this.from);
        }
      }
      const inside = x >= this.gutter;
      this.pointer.hidden = !inside;
      if (!inside) return tooltip.hide();
      this.pointer.style.setProperty('left', `${x}px`);
      const [first, ...rest] = this.describe(this.at(x, y));
      tooltip.show(event.clientX, event.clientY, [el('b', {}, first), ...rest]);
    });
    this.node.addEventListener('pointerleave', () => {
      drag = null;
      this.pointer.hidden = true;
      tooltip.hide();
    });
    this.node.addEventListener('click', (event) => {
      const [x, y] = local(event);
      const moved = drag && drag.moved;
      drag = null;
      if (moved || x < this.gutter) return;
      const point = this.at(x, y);
      if (point.proposal >= 0) this.select(point.proposal);
      else if (point.other >= 0) this.seek(this.video.others.starts[point.other]);
      else if (point.truth >= 0) this.seek(this.video.truth[point.truth][0]);
      else this.seek(point.time);
    });
    this.node.addEventListener('wheel', (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY / 300), this.timeAt(local(event)[0]));
    }, { passive: false });
    this.node.addEventListener('keydown', (event) => this.key(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowRight: () => this.step(1, event.shiftKey),
      ArrowLeft: () => this.step(-1, event.shiftKey),
      Home: () => this.seek(0),
      End: () => this.seek(this.video.duration),
      n: () => this.stepProposal(1),
      p: () => this.stepProposal(-1),
      g: () => this.stepTruth(1),
      b: () => this.stepTruth(-1),
      '+': () => this.zoom(0.6),
      '=': () => this.zoom(0.6),
      '-': () => this.zoom(1 / 0.6),
      0: () => this.show(0, this.video.duration),
      ' ': () => this.on.toggle(),
      Enter: () => this.on.playSelected(),
    };
    const act = actions[event.key] || actions[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
