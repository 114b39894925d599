'use strict';
// What is decided about segments; part of `app`, which sends it to the server.

const about = (keys) => (keys.length > 1 ? { items: keys } : { item: keys[0] });

const deciding = {
  chosen() {
    const keys = [...this.timeline.selected];
    if (!keys.length) this.toast('Choose a segment first: Tab, ↓ or a click.');
    return keys;
  },

  // The next one in the ranking from before the decision comes up by itself.
  async decide(action) {
    const keys = this.chosen();
    if (!keys.length) return;
    const open = this.recording.items.get(keys[0]).status === 'open' ||
      this.recording.reasonOf(keys[0]) !== '';
    const answer = await this.act(action, about(keys));
    if (answer && open && keys.length === 1) {
      this.last = undefined;
      this.timeline.selected.clear();
      if (this.recording.ranking.length) this.goTo(this.recording.ranking[0][0]);
      else this.refresh();
    }
  },

  accept() { return this.decide('accept'); },
  reject() { return this.decide('reject'); },

  label(label) {
    if (!this.labels.includes(label)) this.labels.push(label);
    const keys = this.chosen();
    return keys.length ? this.act('label', { ...about(keys), label }) : null;
  },

  typeLabel() {
    if (this.chosen().length) byId('label').focus();
  },

  labelKeys() {
    return LABEL_KEYS;
  },

  border(which, time = this.player.time) {
    const item = this.selectedItem();
    if (!item) return this.chosen();
    return this.moveBorder(item, which, this.recording.snap(time));
  },

  nudge(which, frames) {
    const item = this.selectedItem();
    if (!item) return this.chosen();
    const time = this.recording.snap(item[which] + frames / this.recording.fps);
    return this.moveBorder(item, which, time).then(() => this.player.seek(time));
  },

  async moveBorder(item, which, time) {
    const segment = which === 'start' ? [time, item.end] : [item.start, time];
    if (segment[1] - segment[0] < 0.5 / this.recording.fps) {
      this.toast('A segment must end after it starts.');
      return;
    }
    await this.act('change', { item: item.key, segment });
    this.setLoop();
  },

  async split(time = this.player.time) {
    const item = this.selectedItem();
    if (!item) return void this.chosen();
    const answer = await this.act('split', { item: item.key, at: this.recording.snap(time) });
    this.choose(answer);
  },

  async merge() {
    let items = this.chosen();
    if (items.length === 1) {
      const item = this.selectedItem();
      const next = this.recording.neighbour(item.start, item.key, 1, this.timeline.threshold);
      if (!next) return void this.toast('There is no segment after this one.');
      items = [item.key, next.key];
    }
    if (items.length > 1) this.choose(await this.act('merge', { items }));
  },

  // Chooses what an action has made.
  choose(answer) {
    if (!answer) return;
    const made = Object.entries(answer.changed).filter(([, value]) => value !== null);
    if (made.length) this.select(made[0][0]);
  },

  async addSegment(start, end) {
    const label = this.labels.length === 1 ? this.labels[0] : '';
    this.choose(await this.act('add', { segment: [start, end], label }));
  },

  mark(at = this.player.time) {
    const time = this.recording.snap(at);
    const { timeline } = this;
    if (!this.may()) return null;
    if (timeline.mark === null) {
      timeline.mark = time;
      this.toast('Starts here. Go to its end and press n again; Esc gives up.');
    } else {
      const [start, end] = [timeline.mark, time].sort((p, q) => p - q);
      timeline.mark = null;
      byId('toast').hidden = true;
      if (end - start < 0.5 / this.recording.fps) this.toast('A segment must end after it starts.');
      else return this.addSegment(start, end);
    }
    timeline.request();
    return null;
  },

  escape() {
    document.activeElement.blur();
    this.timeline.mark = null;
    byId('toast').hidden = true;
    document.body.classList.remove('menu');
    this.select(null);
  },

  seen() {
    return this.act('look', { segments: [[this.timeline.from, this.timeline.to]] });
  },

  // Nothing is told twice: a loop would do so at each turn.
  played(recording, from, to) {
    const known = recording.seen.some(([start, end]) => start <= from && to <= end);
    if (this.may() && !known)
      this.act('seen', { segments: [[from, to]] }, recording);
  },

  undo() {
    if (this.recording.canUndo) return this.act('undo');
    return this.toast('Nothing to undo in this recording.');
  },

  redo() {
    if (this.recording.canRedo) return this.act('redo');
    return this.toast('Nothing to redo in this recording.');
  },

  toggleDone() {
    return this.act('done', { done: !this.recording.done });
  },
};
