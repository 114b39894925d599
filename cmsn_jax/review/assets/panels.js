'use strict';
// What stands around the timeline: recordings, the chosen segment, buttons.

const STATUS_WORDS = { open: 'proposal', given: 'annotated', accepted: 'accepted',
  rejected: 'rejected' };

class Panels {
  // `app` has the state and what the buttons do.
  constructor(app) {
    this.app = app;
    this.rows = new Map();
    for (const format of app.overview.formats)
      byId('export').append(el('option', { value: format }, format));
    byId('export').addEventListener('change', (event) => {
      const { value } = event.target;
      event.target.value = '';
      event.target.blur();
      if (value) app.write(value);
    });
    byId('search').addEventListener('input', () => this.list());
    byId('order').addEventListener('change', (event) => {
      event.target.blur();
      this.list();
    });
    byId('name').value = app.by;
    byId('name').addEventListener('change', (event) => app.setName(event.target.value));
    this.transport();
    this.under();
    this.thumbs();
  }

  button(text, key, act, extra = {}) {
    return el('button', { ...extra, title: key ? `${extra.title || text} (${key})` : text, onclick: (event) => {
        event.currentTarget.blur();
        act();
      } }, text, key && key.length < 4 ? el('kbd', {}, key) : null);
  }

  order() {
    const word = byId('search').value.trim().toLowerCase();
    const found = this.app.overview.recordings.filter((row) =>
      row.id.toLowerCase().includes(word));
    if (byId('order').value === 'gain')
      found.sort((a, b) => a.done - b.done || b.gain - a.gain);
    else found.sort((a, b) => a.id.localeCompare(b.id, 'en', { numeric: true }));
    return found;
  }

  list() {
    const { app } = this;
    const rows = this.order();
    const most = Math.max(1e-9, ...rows.map((row) => row.gain));
    byId('recordings').replaceChildren(...rows.map((row) => {
      const decided = row.accepted + row.rejected;
      const node = el('button', { class: 'recording', role: 'option',
        'aria-selected': String(app.recording && row.id === app.recording.id),
        title: row.id, onclick: (event) => {
          event.currentTarget.blur();
          app.open(row.id);
        } },
      el('span', { class: 'name' }, row.done ? '✓ ' : '', row.id),
      el('span', { class: 'numbers' }, row.done ? 'done'
        : row.todo ? `${row.todo.toLocaleString('en')} to see` : ''),
      el('i', { class: 'gain' }, el('i', {
        style: { width: `${row.done ? 0 : 100 * row.gain / most}%` } })),
      el('span', { class: 'numbers wide' }, `${lengthText(row.duration)} · ` +
        `${decided} decided · ${row.given + row.accepted} kept`));
      return node;
    }));
    const all = app.overview.recordings;
    byId('progress').textContent = `${all.filter((row) => row.done).length} of ` +
      `${plural(all.length, 'recording')} done`;
    const current = byId('recordings').querySelector('[aria-selected=true]');
    if (current) current.scrollIntoView({ block: 'nearest' });
  }

  heading() {
    const { recording } = this.app;
    byId('recording-name').textContent = recording.id;
    document.title = `${recording.id} · Review`;
    const { summary } = recording;
    byId('recording-facts').textContent = `${lengthText(recording.duration)}, ` +
      `${plural(summary.open, 'open proposal')}, ${summary.given + summary.accepted} kept, ` +
      `${summary.rejected} rejected`;
  }

  card() {
    const { app } = this;
    const item = app.selectedItem();
    const card = byId('card');
    // What is being typed is not taken away by what is shown anew.
    const typing = document.activeElement === byId('label');
    if (item && typing && this.carded === item.key) return;
    this.carded = item && item.key;
    if (!item) {
      const next = app.recording.summary.todo;
      card.replaceChildren(
        el('p', { class: 'muted' }, app.recording.done
          ? 'This recording is done.'
          : next ? `${plural(next, 'segment')} to look at, best first.`
            : 'Nothing is left that is worth a look.'),
        el('div', { class: 'buttons' },
          this.button('next uncertain', 'Tab', () => app.next(1), { class: 'main' }),
          this.button('new', 'n', () => app.mark()),
          this.button('done', 'Shift+D', () => app.toggleDone())),
        el('p', { class: 'muted hint' }, '? shows the keys'));
      return;
    }
    const may = app.may();
    const reason = app.recording.reasonOf(item.key);
    const off = may ? {} : { disabled: true };
    card.replaceChildren(
      el('div', { class: 'what' },
        el('span', { class: `status ${item.status}` }, STATUS_WORDS[item.status]),
        item.by ? el('span', { class: 'muted' }, `by ${item.by}`) : null,
        item.score === null ? null
          : el('span', { class: 'score' }, 'score ', el('b', {}, item.score.toFixed(3)))),
      el('div', { class: 'times' }, el('b', {}, clock(item.start, 2)), ' – ',
        el('b', {}, clock(item.end, 2)),
        el('span', { class: 'muted' }, ` ${(item.end - item.start).toFixed(2)} s`)),
      ...(reason ? [el('p', { class: 'reason' }, reason)] : []),
      this.labels(item, off),
      el('div', { class: 'buttons' },
        this.button('accept', 'a', () => app.accept(), { class: 'good', ...off }),
        this.button('reject', 'x', () => app.reject(), { class: 'bad', ...off }),
        this.button('next', 'Tab', () => app.next(1), { title: 'next uncertain' })),
      el('div', { class: 'buttons small' },
        this.button('split', 's', () => app.split(), off),
        this.button('merge', 'm', () => app.merge(), off),
        this.button('start', 'i', () => app.border('start'), { title: 'starts at the playhead', ...off }),
        this.button('end', 'e', () => app.border('end'), { title: 'ends at the playhead', ...off })));
  }

  labels(item, off) {
    const { app } = this;
    const keys = app.labelKeys();
    return el('div', { class: 'labels' },
      ...app.labels.slice(0, 12).map((label, k) => el('button', {
        class: label === item.label ? 'label chosen' : 'label', ...off,
        title: keys[k] ? `${label} (${keys[k]})` : label,
        onclick: (event) => {
          event.currentTarget.blur();
          app.label(label);
        } }, keys[k] ? el('kbd', {}, keys[k]) : null, label)),
      el('input', { id: 'label', placeholder: item.label || 'other name…',
        'aria-label': 'Other name', maxlength: 200, ...off,
        onkeydown: (event) => {
          const { key, target, isComposing } = event;
          if (isComposing || (key !== 'Enter' && key !== 'Escape')) return;
          const text = target.value.trim();
          target.value = '';
          target.blur();
          if (key === 'Enter' && text) app.later(() => app.label(text));
        } }));
  }

  transport() {
    const { app } = this;
    this.playButton = this.button('▶', '', () => app.player.toggle(), { class: 'icon', 'aria-label': 'Play or pause (Space)' });
    this.speed = el('select', { 'aria-label': 'Speed', onchange: (event) => {
      app.player.setSpeed(Number(event.target.value));
      event.target.blur();
    } }, ...SPEEDS.map((s) => el('option', { value: s }, `${s} ×`)));
    this.now = el('b', { class: 'now' });
    this.loopButton = this.button('loop', 'o', () => app.toggleLoop(), { 'aria-pressed': 'false' });
    this.undoButton = this.button('undo', 'u', () => app.undo());
    this.redoButton = this.button('redo', 'Ctrl+Y', () => app.redo());
    this.doneButton = this.button('done', 'Shift+D', () => app.toggleDone(), { 'aria-pressed': 'false' });
    this.newButton = this.button('new', 'n', () => app.mark());
    this.seenButton = this.button('seen', 'v', () => app.seen(), { title: 'All that is shown was looked at' });
    byId('transport').append(
      this.button('‹', '', () => app.player.step(-1), { class: 'icon', 'aria-label': 'Frame back (←)' }),
      this.playButton,
      this.button('›', '', () => app.player.step(1), { class: 'icon', 'aria-label': 'Frame on (→)' }),
      this.now, this.speed, this.loopButton, el('span', { class: 'space' }),
      this.newButton, this.seenButton, this.undoButton, this.redoButton, this.doneButton);
  }

  under() {
    const { app } = this;
    this.slider = el('input', { type: 'range', min: 0, max: 1000, 'aria-label': 'Least score shown',
      oninput: (event) => app.setThreshold(Number(event.target.value) / 1000),
      onchange: (event) => event.target.blur() });
    this.above = el('span', { class: 'muted' });
    byId('under').append(
      el('label', { class: 'threshold' }, el('span', {}, 'score from '), this.slider), this.above,
      el('span', { class: 'space' }),
      this.button('−', '', () => app.timeline.zoom(1 / 0.6), { class: 'icon', 'aria-label': 'Zoom out (-)' }),
      this.button('+', '', () => app.timeline.zoom(0.6), { class: 'icon', 'aria-label': 'Zoom in (+)' }),
      this.button('all', '0', () => app.timeline.show(0, app.recording.duration)),
      this.rejectedButton = this.button('rejected', 'h', () => app.toggleRejected(), { 'aria-pressed': 'false' }));
  }

  // Large buttons below, for thumbs.
  thumbs() {
    const { app } = this;
    byId('thumb').append(
      this.button('accept', '', () => app.accept(), { class: 'good' }),
      this.button('reject', '', () => app.reject(), { class: 'bad' }),
      this.button('undo', '', () => app.undo()),
      this.button('next', '', () => app.next(1), { class: 'main' }));
  }

  state() {
    const { app } = this;
    const { player, recording } = app;
    if (!recording) return;
    const may = app.may();
    this.playButton.firstChild.data = player.playing ? '❚❚' : '▶';
    this.speed.value = String(player.speed);
    this.loopButton.setAttribute('aria-pressed', String(app.loop));
    this.rejectedButton.setAttribute('aria-pressed', String(app.timeline.showRejected));
    this.undoButton.disabled = !may || !recording.canUndo;
    this.redoButton.disabled = !may || !recording.canRedo;
    for (const button of [this.newButton, this.seenButton, this.doneButton]) button.disabled = !may;
    this.doneButton.setAttribute('aria-pressed', String(recording.done));
    for (const button of byId('thumb').children) button.disabled = !may && button.textContent !== 'next';
    const { threshold } = app.timeline;
    if (document.activeElement !== this.slider) this.slider.value = String(Math.round(1000 * app.share()));
    this.above.textContent = `${threshold.toFixed(3)} · ${recording.countAbove(threshold).toLocaleString('en')} of ` +
      `${recording.sortedScores.length.toLocaleString('en')} open proposals`;
    this.clock(player.time);
  }

  clock(time) {
    this.now.textContent = `${clock(time, 2)} / ${clock(this.app.recording.duration, 0)}`;
  }
}
