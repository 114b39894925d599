'use strict';
// The list of videos: an index with search and sort, sliders for all, and one
// part a video that is built when it comes near the screen.

const INDEX_ROWS = 200;
const PRINTED_PARTS = 30;
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
    const tiou = page.has_truth ? this.video.tiouOf(i) : 0;
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

class VideoList {
  constructor(page) {
    this.page = page;
    this.settings = { top: 0, score: page.score_range[0], tiou: 0.5,
      labels: null, labelKey: '', byLabel: page.labelled };
    this.videos = page.videos.map((entry, i) => new Video(entry, i, page));
    this.parts = this.videos.map((video) => new Part(video, this.settings));
    this.chosen = this.parts;
    this.allRows = false;
    this.search = byId('search');
    this.order = byId('order');
    this.index = byId('index-rows');
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries)
        if (entry.isIntersecting) {
          entry.target.videoPart.build();
          entry.target.style.removeProperty('min-height');
        } else entry.target.videoPart.drop();
    }, { rootMargin: '500px 0px' });
    this.controls();
    this.choose();
    addEventListener('beforeprint', () => this.beforePrint());
  }

  controls() {
    const most = Math.max(1, ...this.videos.map((video) => video.kept));
    this.keys = new LabelKeys(this.page, this.settings, () => {
      for (const part of this.chosen) part.refresh();
      this.recount();
      this.fillIndex();
    });
    const top = byId('top');
    top.max = Math.min(most, this.page.max_proposals);
    // Enough that every true segment could be found, and not a thicket.
    const truths = this.page.num_truth / this.videos.length;
    top.value = this.settings.top =
      Math.min(most, Math.round(clamp(2 * truths, 20, 100)));
    const [low, high] = this.page.score_range;
    const score = byId('score');
    score.min = low;
    score.max = high;
    score.step = (high - low) / 200 || 0.005;
    score.value = low;
    const tiou = byId('tiou');
    const read = () => {
      this.settings.top = Number(top.value);
      this.settings.score = Number(score.value) <= low ? low : Number(score.value);
      this.settings.tiou = Number(tiou.value);
      byId('top-value').textContent = top.value;
      byId('score-value').textContent = Number(score.value).toFixed(2);
      byId('tiou-value').textContent = Number(tiou.value).toFixed(2);
      for (const part of this.chosen) part.refresh();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.recount();
        this.fillIndex();
      }, 120);
    };
    for (const slider of [top, score, tiou]) slider.addEventListener('input', read);
    this.search.addEventListener('input', () => this.choose());
    this.order.addEventListener('change', () => this.choose());
    byId('index-more').addEventListener('click', () => {
      this.allRows = true;
      this.fillIndex();
    });
    if (!this.page.has_truth) {
      byId('tiou-control').remove();
      for (const name of ['missed', 'truths', 'gained', 'lost'])
        this.order.querySelector(`[value=${name}]`).remove();
      for (const cell of document.querySelectorAll('#index .truth-only'))
        cell.remove();
    }
    this.compareColumns();
    if (!this.page.stages.length || !this.videos.some((video) => video.stages))
      byId('stage-key').remove();
    byId('top-value').textContent = top.value;
    byId('score-value').textContent = Number(score.value).toFixed(2);
    document.addEventListener('keydown', (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key === '/' && !typing) {
        event.preventDefault();
        this.search.focus();
      }
    });
  }

  compareColumns() {
    if (!this.page.compare || !this.page.has_truth) {
      for (const name of ['gained', 'lost']) {
        const option = this.order.querySelector(`[value=${name}]`);
        if (option) option.remove();
      }
      return;
    }
    const [a, b] = this.page.names;
    this.order.querySelector('[value=gained]').textContent = `${a} finds more first`;
    this.order.querySelector('[value=lost]').textContent = `${b} finds more first`;
    const head = document.querySelector('#index thead tr');
    head.lastElementChild.textContent = `found, ${a}`;
    head.append(el('th', { class: 'share' }, `found, ${b}`),
      el('th', { class: 'number' }, 'difference'));
  }

  choose() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.chosen = this.parts.filter(({ video }) =>
      words.every((word) => video.searchText.includes(word)));
    const share = ({ video }) => video.truth.length
      ? video.found(this.settings) / video.truth.length : 2;
    // How much more this run finds than the other.
    const gain = ({ video }) =>
      video.found(this.settings) - video.found(this.settings, true);
    const by = {
      name: (a, b) => a.video.id.localeCompare(b.video.id, 'en', { numeric: true }),
      missed: (a, b) => share(a) - share(b) ||
        b.video.truth.length - a.video.truth.length,
      longest: (a, b) => b.video.duration - a.video.duration,
      gained: (a, b) => gain(b) - gain(a),
      lost: (a, b) => gain(a) - gain(b),
      truths: (a, b) => b.video.truth.length - a.video.truth.length,
    }[this.order.value];
    if (by) this.chosen = [...this.chosen].sort(by);
    this.watcher.disconnect();
    for (const part of this.parts) part.drop();
    byId('parts').replaceChildren(...this.chosen.map((part) => part.node));
    for (const part of this.chosen) this.watcher.observe(part.node);
    this.fillIndex();
    // The sum over thousands of videos waits until the page is on the screen.
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.recount(), 30);
  }

  recount() {
    const count = byId('count');
    const videos = this.chosen.length === this.parts.length
      ? plural(this.parts.length, 'video')
      : `${this.chosen.length.toLocaleString('en')} of ${plural(this.parts.length, 'video')}`;
    count.replaceChildren(videos);
    if (this.page.has_truth) {
      let total = 0;
      for (const { video } of this.chosen)
        total += video.shownTruth(this.settings).length;
      const share = (other) => {
        let found = 0;
        for (const { video } of this.chosen)
          found += video.found(this.settings, other);
        return `${found.toLocaleString('en')}${other ? '' : ` of ${
          plural(total, 'true segment')}`} found (${percent(found / total, 0)} %)`;
      };
      const [a, b] = this.page.names;
      if (total) count.append('  ·  ', el('b', {}, this.page.compare
        ? `${a}: ${share(false)}, ${b}: ${share(true)}` : share(false)));
    }
  }

  fillIndex() {
    const shown = this.allRows ? this.chosen : this.chosen.slice(0, INDEX_ROWS);
    this.index.replaceChildren(...shown.map((part) => this.indexRow(part)));
    const more = byId('index-more');
    more.hidden = shown.length === this.chosen.length;
    more.textContent = `Show all ${this.chosen.length.toLocaleString('en')}`;
    byId('nothing').hidden = this.chosen.length > 0;
    byId('index').hidden = !this.chosen.length;
  }

  indexRow(part) {
    const { video } = part;
    const truth = this.page.has_truth;
    const number = (text) => el('td', { class: 'number' }, text);
    const truths = video.shownTruth(this.settings).length;
    const meter = (found) => truths
      ? el('span', { class: 'meter', style: {
        '--share': (found / truths).toFixed(3) } },
      el('b', {}, `${found} / ${truths}`)) : '–';
    const own = truth ? video.found(this.settings) : 0;
    const other = truth && video.other ? video.found(this.settings, true) : own;
    return el('tr', {},
      el('td', {}, el('button', { type: 'button', class: 'link',
        onclick: () => this.go(part) }, video.id)),
      number(clock(video.duration, 0)),
      truth ? number(String(truths)) : null,
      el('td', { class: 'number roomy' }, String(video.total)),
      truth ? el('td', { class: 'share' }, meter(own)) : null,
      truth && video.other ? el('td', { class: 'share' }, meter(other)) : null,
      truth && video.other ? number(other === own ? '0'
        : `${own > other ? '+' : '−'}${Math.abs(own - other)}`) : null);
  }

  // Brings a video to the screen; with a time, puts the playhead there.
  go(part, time) {
    if (!this.chosen.includes(part)) {
      this.search.value = '';
      this.choose();
    }
    part.build();
    part.node.scrollIntoView({ block: 'start' });
    // Parts above may have been built and grown on the way.
    requestAnimationFrame(() => part.node.scrollIntoView({ block: 'start' }));
    part.timeline.node.focus({ preventScroll: true });
    if (time !== undefined) part.timeline.seek(time);
  }

  redraw() {
    for (const part of this.chosen) if (part.timeline) part.timeline.draw();
  }

  beforePrint() {
    for (const part of this.chosen.slice(0, PRINTED_PARTS)) {
      part.build();
      part.timeline.draw();
    }
    byId('printed').textContent = this.chosen.length > PRINTED_PARTS
      ? `Printed: the first ${PRINTED_PARTS} of ${this.chosen.length} videos. ` +
        'Search or sort on the page to choose others.' : '';
  }
}
