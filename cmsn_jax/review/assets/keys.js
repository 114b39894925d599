'use strict';
// The keyboard: as BORIS has it where BORIS has it, and shown on `?`.

// Letters and digits that choose labels: whatever no other key needs.
const LABEL_KEYS = [...'123456789bcdfgpqrtwyz'];
// What goes on while it is held. A decision does not: the next segment comes up
// by itself, and would be decided too.
const REPEATED = /Arrow|Page|Tab|^Ctrl|^[.,+=-]$/;

// [keys, words, what it does, group]
function keyTable(app) {
  const { timeline } = app;
  const player = () => app.player;
  return [
    [[' ', 'k', 'K'], 'Space or K', 'play, pause', () => player().toggle(), 'Play'],
    [['l', 'L', ']'], 'L or ]', 'faster (to 4 ×)', () => player().change(1), 'Play'],
    [['j', 'J', '['], 'J or [', 'slower (to ¼ ×)', () => player().change(-1), 'Play'],
    [['ArrowRight', '.'], '→ or .', 'one frame on', () => player().step(1), 'Play'],
    [['ArrowLeft', ','], '← or ,', 'one frame back', () => player().step(-1), 'Play'],
    [['Shift+ArrowRight', 'Shift+ArrowLeft'], 'Shift + ← →', 'one second',
      (event) => player().step((event.key === 'ArrowRight' ? 1 : -1) *
        Math.round(app.recording.fps)), 'Play'],
    [['Home'], 'Home', 'to the beginning', () => player().seek(0), 'Play'],
    [['End'], 'End', 'to the end', () => player().seek(app.recording.duration), 'Play'],
    [['o', 'O'], 'o', 'loop the segment', () => app.toggleLoop(), 'Play'],
    [['Enter'], 'Enter', 'play the segment', () => app.playSegment(), 'Play'],
    [['Tab'], 'Tab', 'next uncertain segment', () => app.next(1), 'Go'],
    [['Shift+Tab'], 'Shift + Tab', 'the one before', () => app.next(-1), 'Go'],
    [['ArrowDown', 'PageDown'], '↓', 'next segment in time', () => app.neighbour(1), 'Go'],
    [['ArrowUp', 'PageUp'], '↑', 'segment before', () => app.neighbour(-1), 'Go'],
    [['Shift+ArrowDown', 'Shift+PageDown'], 'Shift + ↓', 'next recording', () => app.other(1), 'Go'],
    [['Shift+ArrowUp', 'Shift+PageUp'], 'Shift + ↑', 'recording before', () => app.other(-1), 'Go'],
    [['+', '='], '+', 'zoom in', () => timeline.zoom(0.6), 'Go'],
    [['-'], '−', 'zoom out', () => timeline.zoom(1 / 0.6), 'Go'],
    [['0'], '0', 'show all of the recording', () => timeline.show(0, app.recording.duration), 'Go'],
    [['a', 'A'], 'a', 'accept', () => app.accept(), 'Decide'],
    [['x', 'X', 'Delete'], 'x or Delete', 'reject', () => app.reject(), 'Decide'],
    [['i', 'I'], 'i', 'the segment starts here', (event, time) => app.border('start', time), 'Decide'],
    [['e', 'E'], 'e', 'the segment ends here', (event, time) => app.border('end', time), 'Decide'],
    [['Alt+ArrowLeft', 'Alt+ArrowRight'], 'Alt + ← →', 'move the start by a frame',
      (event) => app.nudge('start', event.key === 'ArrowRight' ? 1 : -1), 'Decide'],
    [['Alt+Shift+ArrowLeft', 'Alt+Shift+ArrowRight'], 'Alt + Shift + ← →', 'move the end by a frame',
      (event) => app.nudge('end', event.key === 'ArrowRight' ? 1 : -1), 'Decide'],
    [['s', 'S'], 's', 'split at the playhead', (event, time) => app.split(time), 'Decide'],
    [['m', 'M'], 'm', 'merge with the next (or all that Shift+click chose)', () => app.merge(), 'Decide'],
    [['n', 'N'], 'n … n', 'new segment, from first to second press', (event, time) => app.mark(time), 'Decide'],
    [['/', 'F2'], '/', 'type another name', () => app.typeLabel(), 'Decide'],
    [['v', 'V'], 'v', 'all that is shown was looked at', () => app.seen(), 'Decide'],
    [['Shift+D'], 'Shift + D', 'the recording is done', () => app.toggleDone(), 'Decide'],
    [['u', 'U', 'Ctrl+z'], 'u or Ctrl + Z', 'undo', () => app.undo(), 'Decide'],
    [['Ctrl+y', 'Ctrl+Shift+z'], 'Ctrl + Y', 'redo', () => app.redo(), 'Decide'],
    [['Alt+ArrowUp', 'Alt+ArrowDown'], 'Alt + ↑ ↓', 'least score shown',
      (event) => app.setThreshold(app.share() + (event.key === 'ArrowUp' ? 0.02 : -0.02)), 'Show'],
    [['h', 'H'], 'h', 'show rejected proposals', () => app.toggleRejected(), 'Show'],
    [['F6'], 'F6', 'to the fields and buttons: Tab goes on, Esc comes back', () => byId('search').focus(), 'Show'],
    [['Escape'], 'Esc', 'choose nothing', () => app.escape(), 'Show'],
    [['?'], '?', 'these keys', () => app.help(), 'Show'],
  ];
}

function keyName(event) {
  const shifted = event.shiftKey && (event.key.length > 1 || event.ctrlKey ||
    event.metaKey || event.key.toLowerCase() === 'd');
  const letter = event.ctrlKey || event.metaKey ? event.key.toLowerCase() : event.key;
  return (event.ctrlKey || event.metaKey ? 'Ctrl+' : '') + (event.altKey ? 'Alt+' : '') +
    (shifted ? 'Shift+' : '') + (letter === 'd' && shifted && !event.ctrlKey ? 'D' : letter);
}

class Keys {
  constructor(app) {
    this.app = app;
    this.table = keyTable(app);
    this.actions = new Map();
    for (const [names, , , act] of this.table)
      for (const name of names) this.actions.set(name, act);
    document.addEventListener('keydown', (event) => this.press(event));
  }

  press(event) {
    const { target } = event;
    if (event.isComposing) return;
    if (byId('help').open) {
      if (event.key === 'Escape' || event.key === '?') byId('help').close();
      return;
    }
    if (target instanceof HTMLInputElement && target.type !== 'range' ||
        target instanceof HTMLSelectElement) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    // What was reached by Tab from a field is used and left as usual.
    if (target instanceof HTMLButtonElement && ['Enter', ' ', 'Tab'].includes(event.key)) return;
    if (target instanceof HTMLInputElement && !event.altKey &&
        /^(Tab|Home|End|Page|Arrow)/.test(event.key)) return;
    const name = keyName(event);
    const act = this.actions.get(name) || this.labelAction(name);
    if (!act) return;
    event.preventDefault();
    if (!this.app.recording || (event.repeat && !REPEATED.test(name))) return;
    // While it plays, the moment of the press counts.
    const { player } = this.app;
    const time = player.playing ? player.time : undefined;
    this.app.later(() => act(event, time));
  }

  labelAction(name) {
    const at = LABEL_KEYS.indexOf(name);
    const label = at < 0 ? undefined : this.app.labels[at];
    return label === undefined ? null : () => this.app.label(label);
  }

  show() {
    const groups = new Map();
    for (const [, keys, words, , group] of this.table)
      groups.set(group, [...groups.get(group) || [], [keys, words]]);
    const labels = this.app.labels.slice(0, LABEL_KEYS.length).map((label, k) =>
      [LABEL_KEYS[k], label]);
    if (labels.length) groups.set('Names', labels);
    byId('help').replaceChildren(
      el('form', { method: 'dialog' }, el('h2', {}, 'Keys'), el('button', { class: 'icon', 'aria-label': 'Close' }, '✕')),
      el('div', { class: 'groups' }, ...[...groups].map(([group, rows]) => el('section', {},
        el('h3', {}, group), el('dl', {}, ...rows.flatMap(([keys, words]) =>
          [el('dt', {}, el('kbd', {}, keys)), el('dd', {}, words)]))))),
      el('p', { class: 'muted' }, 'Mouse: click chooses, drag a chosen segment’s border, Shift + drag makes a new ' +
        'one, the wheel moves, Ctrl + wheel zooms, Shift + click chooses several.'));
    byId('help').showModal();
  }
}
