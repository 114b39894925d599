'use strict';
// A clock that plays: the video's, or one of its own where there is none.

const SPEEDS = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4];

// `on.time(seconds)` while it moves, `on.state()` on play, pause and speed,
// `on.played(from, to)` for spans that ran through without a jump.
class Player {
  constructor(recording, holder, on) {
    this.recording = recording;
    this.on = on;
    this.time = 0;
    this.speed = 1;
    this.playing = false;
    this.loop = null;
    this.element = null;
    this.ran = null;
    holder.replaceChildren();
    if (recording.video) this.open(holder);
    else
      holder.append(el('p', { class: 'no-video muted' }, recording.hasCurves
        ? 'No video of this recording: its features are below.'
        : 'No video of this recording; --videos names their folder.'));
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  open(holder) {
    const video = el('video', { preload: 'auto', playsinline: true, muted: false,
      tabindex: -1, 'aria-label': `Video ${this.recording.id}` });
    video.addEventListener('error', () => {
      this.element = null;
      holder.replaceChildren(el('p', { class: 'no-video muted' },
        `this browser cannot play ${this.recording.video}; anything else that ` +
        'does becomes one it can with: ffmpeg -i FILE -c:v libx264 ' +
        '-pix_fmt yuv420p NEW.mp4'));
    });
    video.addEventListener('click', () => this.toggle());
    // Set before the address: a seek before the data are there is kept.
    video.addEventListener('loadedmetadata', () => this.show());
    video.src = `video/${encodeURIComponent(this.recording.id)}`;
    this.element = video;
    holder.append(video);
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.flush();
    if (this.element) {
      this.element.pause();
      this.element.removeAttribute('src');
      this.element.load();
    }
  }

  // The picture of a time: a little into its frame, since its first instant
  // may be shown as the frame before.
  show() {
    if (this.element && this.element.readyState > 0)
      this.element.currentTime = Math.min(this.time + 0.2 / this.recording.fps,
        Math.max(0, this.recording.duration - 0.01));
  }

  seek(time, quiet) {
    this.flush();
    this.time = clamp(time, 0, this.recording.duration);
    this.show();
    if (this.playing) this.ran = this.time;
    if (!quiet) this.on.time(this.time);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.time >= this.recording.duration - 0.5 / this.recording.fps)
      this.seek(0);
    this.playing = true;
    this.ran = this.time;
    this.last = null;
    if (this.element) {
      this.element.playbackRate = this.speed;
      this.element.play().catch(() => this.pause());
    }
    this.on.state();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    if (this.element) this.element.pause();
    this.time = this.recording.snap(this.time);
    this.flush();
    this.show();
    this.on.time(this.time);
    this.on.state();
  }

  // Says what has run through; long runs say so now and then.
  flush() {
    if (this.ran !== null && this.time - this.ran > 1)
      this.on.played(this.ran, this.time);
    this.ran = this.playing ? this.time : null;
  }

  change(direction) {
    const at = SPEEDS.indexOf(this.speed);
    this.setSpeed(SPEEDS[clamp(at + direction, 0, SPEEDS.length - 1)]);
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.element) this.element.playbackRate = speed;
    this.on.state();
  }

  step(frames) {
    if (this.playing) this.pause();
    this.seek(this.recording.snap(this.time + frames / this.recording.fps));
  }

  tick(now) {
    this.frame = requestAnimationFrame((next) => this.tick(next));
    if (!this.playing) return;
    const passed = this.last === null ? 0 : (now - this.last) / 1000;
    this.last = now;
    if (this.element) {
      if (this.element.seeking) return;
      this.time = this.element.currentTime;
    } else this.time += passed * this.speed;
    if (this.loop && (this.time >= this.loop[1] || this.time < this.loop[0] - 0.3)) {
      this.seek(this.loop[0]);
      if (this.element) this.element.play().catch(() => {});
      return;
    }
    if (this.time >= this.recording.duration ||
        (this.element && this.element.ended)) {
      this.time = this.recording.duration;
      this.pause();
      return;
    }
    if (this.time - this.ran > 5) this.flush();
    this.on.time(this.time);
  }
}
