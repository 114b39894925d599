'use strict';
// One video's part of the page: player, timeline, list of proposals. It is built
// when it comes near the screen.

// Proposals in the list beside a timeline, until more are asked for.
const LIST_ROWS = 200;

class Part {
  constructor(video, settings) {
    this.video = video;
    this.settings = settings;
    this.node = el('article', { class: 'video', id: `video-${video.index}`,
      tabindex: -1 });
    this.node.videoPart = this;
  }

  build() {
    if (this.timeline) return;
    const { video } = this;
    this.facts = el('p', { class: 'facts' });
    this.media = el('div', { class: 'media' });
    this.rows = el('div', { class: 'rows', tabindex: -1 });
    this.readout = el('p', { class: 'readout', 'aria-live': 'polite' });
    this.timeline = new Timeline(video, this.settings, {
      seek: (time) => this.seekPlayer(time),
      select: (i) => this.markRow(i),
      read: (text) => { this.readout.textContent = text; },
      toggle: () => this.toggle(),
      playSelected: () => this.playSelected(),
    });
    this.fillMedia();
    const list = el('div', { class: 'list' },
      el('div', { class: video.proposals.labels ? 'list-head named' : 'list-head' },
        el('span', {}, '#'),
        el('span', {}, 'proposal'),
        video.proposals.labels ? el('span', {}, 'label') : null,
        el('span', {}, 'score'),
        video.page.has_truth ? el('span', {}, 'tIoU') : null), this.rows);
    const under = el('div', { class: 'under' }, this.tools(), this.readout);
    const header = el('header', {}, el('h3', {}, video.id), this.facts);
    if (video.url)
      this.node.replaceChildren(header,
        el('div', { class: 'top' }, this.media, list), this.timeline.node, under);
    else
      this.node.replaceChildren(header, this.timeline.node, under,
        el('details', { class: 'listing' },
          el('summary', {}, 'List of proposals'), list));
    this.refresh();
    this.timeline.tell();
  }

  tools() {
    const { timeline } = this;
    const button = (text, name, act) => el('button', { type: 'button',
      title: name, 'aria-label': name, onclick: act }, text);
    return el('div', { class: 'tools' },
      button('‹ Proposal', 'Previous proposal (P)', () => timeline.stepProposal(-1)),
      button('Proposal ›', 'Next proposal (N)', () => timeline.stepProposal(1)),
      this.video.url ? button('Play it', 'Play the selected proposal (Enter)',
        () => this.playSelected()) : null,
      button('−', 'Zoom out (-)', () => timeline.zoom(1 / 0.6)),
      button('+', 'Zoom in (+)', () => timeline.zoom(0.6)),
      button('Fit', 'Whole video (0)',
        () => timeline.show(0, this.video.duration)));
  }

  fillMedia() {
    const { url } = this.video;
    if (!url) return;
    this.player = el('video', { src: url, controls: true, preload: 'metadata',
      playsinline: true, muted: true });
    this.player.addEventListener('error', () => {
      this.player = null;
      this.media.replaceChildren(el('p', { class: 'no-film' },
        'The video cannot be shown. ', el('code', {}, decodeURI(url)),
        ' is not where this page expects it, or the browser cannot play its ' +
        'format (H.264 in .mp4 plays everywhere).'));
    });
    this.player.addEventListener('seeked', () => this.watch());
    this.player.addEventListener('play', () => this.run());
    this.media.replaceChildren(this.player);
  }

  watch() {
    if (this.player && this.timeline) this.timeline.follow(this.player.currentTime);
  }

  run() {
    if (!this.player || this.player.paused || !this.timeline) return;
    if (this.stopAt !== null && this.player.currentTime >= this.stopAt) {
      this.player.pause();
      this.stopAt = null;
    }
    this.watch();
    requestAnimationFrame(() => this.run());
  }

  seekPlayer(time) {
    this.stopAt = null;
    if (this.player) this.player.currentTime = time;
  }

  toggle() {
    this.stopAt = null;
    if (!this.player) return;
    if (this.player.paused) this.player.play().catch(() => {});
    else this.player.pause();
  }

  playSelected() {
    const i = this.timeline.selected;
    if (i < 0 || !this.player) return;
    this.timeline.seek(this.video.proposals.starts[i]);
    this.stopAt = this.video.proposals.ends[i];
    this.player.play().catch(() => {});
  }

  refresh() {
    if (!this.timeline) return;
    const { video, settings } = this;
    if (!video.shown(settings).includes(this.timeline.selected))
      this.timeline.selected = -1;
    this.timeline.draw();
    const truths = video.shownTruth(settings).length;
    const facts = [lengthText(video.duration)];
    if (video.page.has_truth) facts.push(plural(truths, 'true segment'));
    facts.push(video.total > video.proposals.n
      ? `${plural(video.total, 'proposal')} (best ${video.proposals.n} kept)`
      : plural(video.total, 'proposal'));
    this.facts.replaceChildren(facts.join('  ·  '));
    if (truths)
      this.facts.append('  ·  ', el('b', {}, this.foundText(truths)));
    this.fillRows();
  }

  foundText(truths) {
    const { video, settings } = this;
    const own = `${video.found(settings)} of ${truths} found`;
    if (!video.other) return own;
    const [a, b] = video.page.names;
    return `${a} ${video.found(settings)}, ${b} ${
      video.found(settings, true)} of ${truths} found`;
  }

  fillRows() {
    const { proposals, page } = this.video;
    const shown = this.video.shown(this.settings);
    // As many as are read; one that is selected on the timeline is among them.
    const wanted = shown.indexOf(this.timeline.selected) + 1;
    const most = Math.max(this.listed || LIST_ROWS, wanted);
    const rows = shown.slice(0, most).map((i, place) => this.row(i, place));
    if (most < shown.length) {
      const more = el('button', { type: 'button', class: 'more-rows',
        onclick: () => {
          this.listed = most + 5 * LIST_ROWS;
          this.fillRows();
        } }, `${most} of ${shown.length}: show more`);
      rows.push(more);
    }
    if (!shown.length) rows.push(el('p', { class: 'none' }, proposals.n
      ? 'No proposal passes the sliders.' : 'No proposals for this video.'));
    this.rows.classList.toggle('named', Boolean(proposals.labels));
    this.rows.replaceChildren(...rows);
    this.markRow(this.timeline.selected, false);
  }

  row(i, place) {
    const { proposals, page } = this.video;
    const { starts, ends, scores, labels } = proposals;
    const best = Math.max(1e-9, scores[0]);
    const tiou = page.has_truth ? this.video.tiouOf(this.settings, i) : 0;
    const hit = !page.has_truth || tiou >= this.settings.tiou - SLACK;
    const share = `${(100 * clamp(scores[i] / best, 0, 1)).toFixed(0)}%`;
    return el('button', { type: 'button', class: hit ? 'row hit' : 'row',
      'data-rank': i, onclick: () => this.timeline.select(i) },
    el('span', { class: 'rank' }, place + 1),
    el('span', {}, `${clock(starts[i])} – ${clock(ends[i])}`),
    labels ? el('span', { class: 'name' },
      el('i', { class: 'box', style: { background: palette.labels[labels[i]] } }),
      page.labels[labels[i]]) : null,
    el('span', { class: 'score' }, el('i', { style: { width: share } }),
      el('b', {}, scores[i].toFixed(3))),
    page.has_truth ? el('span', { class: 'tiou' }, tiou.toFixed(2)) : null);
  }

  markRow(i, scroll = true) {
    const old = this.rows.querySelector('[aria-current]');
    if (old) old.removeAttribute('aria-current');
    let row = i >= 0 ? this.rows.querySelector(`[data-rank="${i}"]`) : null;
    if (!row && i >= 0 && scroll) {
      this.fillRows();
      row = this.rows.querySelector(`[data-rank="${i}"]`);
    }
    if (!row) return;
    row.setAttribute('aria-current', 'true');
    // Not scrollIntoView: that would move the page as well.
    if (scroll)
      this.rows.scrollTop = row.offsetTop - this.rows.clientHeight / 2;
  }

  // Frees what is far from the screen, keeping the place it takes.
  drop() {
    if (!this.timeline || (this.player && !this.player.paused) ||
        this.node.contains(document.activeElement)) return;
    this.node.style.setProperty('min-height', `${this.node.offsetHeight}px`);
    this.timeline.close();
    this.timeline = null;
    this.player = null;
    this.node.replaceChildren();
  }
}
