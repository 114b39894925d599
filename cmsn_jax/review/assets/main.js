'use strict';
// The page: which recording and segment are chosen, and what is done with them.

const app = {
  ...deciding,
  recording: null,
  player: null,
  labels: [],
  loop: false,
  holds: false,
  lost: false,
  // Ends when all that was asked for by key is done.
  doing: Promise.resolve(),
  opening: 0,

  async start() {
    readPalette2();
    this.overview = await api.get('api/overview');
    this.labels = [...this.overview.labels];
    this.by = kept.get(this.nameKey()) || this.overview.name;
    this.timeline = new Timeline(byId('timeline'), {
      seek: (time) => this.player.seek(time),
      select: (key, more) => this.select(key, more),
      change: (key, start, end) => this.act('change', { item: key, segment: [start, end] }),
      add: (start, end) => this.addSegment(start, end),
      preview: (time) => { this.player.seek(time, true); },
      view: () => {},
      may: () => this.may(),
    });
    this.panels = new Panels(this);
    this.keys = new Keys(this);
    await this.beat();
    setInterval(() => this.beat().catch(() => {}), 4000);
    const first = this.panels.order()[0];
    if (first) await this.open(first.id);
  },

  may() {
    return this.holds && !this.lost;
  },

  // Asks whether this window may change things, and what others have done.
  async beat(take = false) {
    const answer = await api.post('api/beat', { take });
    const changed = this.holds !== answer.holds;
    this.holds = answer.holds;
    this.readOnlyProgram = answer.read_only;
    this.banner();
    if (this.recording && (changed || (!this.holds && answer.number !== this.seenNumber)))
      await this.reload();
    this.seenNumber = answer.number;
  },

  banner() {
    const node = byId('banner');
    node.hidden = this.may();
    if (this.lost)
      node.replaceChildren('The server does not answer. Start the same command again and open the address it ' +
        'prints: every action that was shown here is kept.');
    else if (!this.holds)
      node.replaceChildren(this.readOnlyProgram
        ? 'Read only: another program works on this output. What it does is shown here.'
        : 'Read only: another window works on this output. What it does is shown here. ',
      this.readOnlyProgram ? '' : el('button', { onclick: (event) => this.takeOver(event) }, 'work here instead'));
    document.body.classList.toggle('read-only', !this.may());
  },

  takeOver(event) {
    // The next key is for the segments, not for a button that goes away.
    event.currentTarget.blur();
    return this.beat(true);
  },

  async reload() {
    this.overview = await api.get('api/overview');
    await this.open(this.recording.id, true);
  },

  async open(id, stay = false) {
    const { timeline } = this;
    const number = ++this.opening;
    const data = await api.get(recordingPath('recording', id));
    // Another one was asked for meanwhile: that is shown, whichever came first.
    if (number !== this.opening) return;
    const before = { from: timeline.from, to: timeline.to, threshold: timeline.threshold, selected: timeline.selected };
    const same = stay && this.recording && this.recording.id === id;
    this.recording = new Recording(data);
    if (same) {
      timeline.recording = this.recording;
      timeline.selected = new Set([...before.selected].filter((key) => this.recording.items.has(key)));
      timeline.strip = null;
      this.player.recording = this.recording;
      timeline.request();
    } else {
      if (this.player) this.player.close();
      timeline.open(this.recording);
      this.loop = false;
      const { recording } = this;
      this.player = new Player(recording, byId('screen'), {
        time: (time) => {
          timeline.follow(time);
          this.panels.clock(time);
        },
        state: () => this.panels.state(),
        // The last of it is told when another recording is shown already.
        played: (from, to) => this.played(recording, from, to),
      });
    }
    document.body.classList.toggle('no-video', !this.recording.video);
    document.body.classList.remove('menu');
    this.panels.list();
    this.refresh();
  },

  refresh() {
    this.panels.heading();
    this.panels.card();
    this.panels.state();
    this.timeline.request();
  },

  // After all that was asked for before: what a key does depends on it.
  later(act) {
    this.doing = this.doing.then(act).catch((error) => this.toast(error.message));
  },

  // Sends an action; what changed is shown once it is on disk.
  async act(action, more = {}, recording = this.recording) {
    if (!this.may()) {
      this.banner();
      return null;
    }
    let answer;
    try {
      answer = await api.post('api/act', { recording: recording.id, action, by: this.by, ...more });
    } catch (error) {
      if (error.status === 409) {
        this.holds = false;
        this.banner();
        await this.reload();
      } else {
        this.toast(error.message);
        // Whatever the server made of it: that is shown.
        if (error.status >= 500) await this.reload();
      }
      return null;
    }
    const shown = recording.id === this.recording.id ? this.recording : recording;
    shown.apply(answer);
    const at = this.overview.recordings.findIndex((row) => row.id === recording.id);
    this.overview.recordings[at] = answer.summary;
    byId('saved').textContent = `saved · ${plural(answer.number, 'action')}`;
    if (shown !== this.recording) return answer;
    for (const key of [...this.timeline.selected])
      if (!recording.items.has(key)) this.timeline.selected.delete(key);
    if (action !== 'seen') this.panels.list();
    this.refresh();
    return answer;
  },

  selectedItem() {
    const key = [...this.timeline.selected].pop();
    return key === undefined ? null : this.recording.items.get(key) || null;
  },

  select(key, more = false) {
    const { selected } = this.timeline;
    if (!more) selected.clear();
    if (key !== null) {
      if (more && selected.has(key)) selected.delete(key);
      else selected.add(key);
    }
    this.setLoop();
    this.refresh();
  },

  // Chooses a segment and shows it with its surroundings.
  goTo(key) {
    const item = this.recording.items.get(key);
    if (!item) return;
    if (item.status === 'open' && (item.score ?? 1) < this.timeline.threshold)
      this.timeline.threshold = item.score;
    this.select(key);
    this.timeline.focus(item.start, item.end);
    this.player.seek(this.recording.snap(item.start));
    this.refresh();
  },

  async next(direction) {
    const item = this.selectedItem();
    const key = this.recording.nextRanked(item ? item.key : this.last, direction);
    this.last = key;
    if (key !== null) {
      this.goTo(key);
      return;
    }
    if (direction < 0) return;
    const rest = this.overview.recordings.filter((row) => !row.done && row.todo &&
      row.id !== this.recording.id).sort((a, b) => b.gain - a.gain);
    if (!rest.length) {
      this.toast('Nothing is left that is worth a look.');
      return;
    }
    this.toast(`On to ${rest[0].id}.`);
    await this.open(rest[0].id);
    if (this.recording.id === rest[0].id) await this.next(1);
  },

  neighbour(direction) {
    const item = this.selectedItem();
    const found = this.recording.neighbour(this.player.time, item && item.key, direction, this.timeline.threshold);
    if (found) this.goTo(found.key);
  },

  other(direction) {
    const order = this.panels.order();
    const at = order.findIndex((row) => row.id === this.recording.id);
    const next = order[at + direction];
    return next ? this.open(next.id) : null;
  },

  toggleLoop() {
    this.loop = !this.loop;
    this.setLoop();
    if (this.loop && this.player.loop && !this.player.playing) this.playSegment();
    this.panels.state();
  },

  setLoop() {
    const item = this.selectedItem();
    this.player.loop = this.loop && item ? [item.start, item.end] : null;
  },

  playSegment() {
    const item = this.selectedItem();
    if (item) this.player.seek(item.start);
    this.player.play();
  },

  // Where the least score shown lies between the lowest and the highest.
  share() {
    const { low, high } = this.recording;
    return (this.timeline.threshold - low) / (high - low);
  },

  setThreshold(share) {
    const { low, high } = this.recording;
    this.timeline.threshold = low + clamp(share, 0, 1) * (high - low);
    this.panels.state();
    this.timeline.request();
  },

  toggleRejected() {
    this.timeline.showRejected = !this.timeline.showRejected;
    this.refresh();
  },

  async write(format) {
    try {
      const { path } = await api.post('api/export', { format });
      this.toast(`Wrote ${path}`);
    } catch (error) {
      this.toast(error.message);
    }
  },

  // What was typed in place of a --name is not for another --name.
  nameKey() {
    return `review-name/${this.overview.name}`;
  },

  setName(name) {
    this.by = name.trim();
    kept.set(this.nameKey(), this.by);
  },

  help() {
    this.keys.show();
  },

  toast(words) {
    const node = byId('toast');
    node.textContent = words;
    node.hidden = false;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => { node.hidden = true; }, 4500);
  },
};

// The browser may forbid that anything is kept.
const kept = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch { /* for this window, then */ }
  },
};

function readPalette2() {
  readPalette();
  const style = getComputedStyle(document.documentElement);
  for (const name of ['good', 'bad', 'seen'])
    palette[name] = style.getPropertyValue(`--${name}`).trim();
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  readPalette2();
  if (app.timeline) app.timeline.request();
}

const systemDark = matchMedia('(prefers-color-scheme: dark)');
setTheme(systemDark.matches ? 'dark' : 'light');
systemDark.addEventListener('change', (event) => setTheme(event.matches ? 'dark' : 'light'));
byId('theme').addEventListener('click', (event) => {
  event.currentTarget.blur();
  setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
});
byId('help-button').addEventListener('click', (event) => {
  event.currentTarget.blur();
  app.help();
});
byId('menu').addEventListener('click', (event) => {
  event.currentTarget.blur();
  const open = document.body.classList.toggle('menu');
  event.currentTarget.setAttribute('aria-expanded', String(open));
});
api.onLost = () => {
  app.lost = true;
  app.banner();
};
api.onBack = () => {
  if (app.lost) {
    app.lost = false;
    app.banner();
  }
};
// Nobody looks at what plays in a hidden window.
document.addEventListener('visibilitychange', () => {
  if (document.hidden && app.player) app.player.pause();
});
addEventListener('pagehide', () => {
  if (app.holds) api.leave();
});
app.ready = app.start();
app.ready.catch((error) => app.toast(error.message));
