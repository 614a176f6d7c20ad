// What the page does once it is there: take events, swap what has changed, and stay out of the way.
// The server has drawn everything; nothing here makes markup of data.
'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const grid = document.querySelector('.tiles');
  const still = matchMedia('(prefers-reduced-motion: reduce)');

  // ---- swapping: the old tree takes on the looks of the new one, and keeps what a person has done to it -----------
  const parse = (html) => { const t = document.createElement('template'); t.innerHTML = html; return t.content; };
  const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute('data-key') : null);

  const FLASH_REST_MS = 3000;
  const flash = (text) => {
    const mark = text.parentElement && text.parentElement.closest('.value, td');
    if (!mark || mark.closest('svg') || still.matches) return;
    // What changes all the time needs no highlight: it would only burn.
    const now = performance.now(), rested = now - (mark.changedAt || 0) > FLASH_REST_MS;
    mark.changedAt = now;
    if (rested) requestAnimationFrame(() => mark.classList.add('changed'));
  };

  const attributes = (old, now) => {
    const zoomed = old.dataset && 'zoomed' in old.dataset;
    for (const { name, value } of [...now.attributes]) {
      if (old.getAttribute(name) === value || (zoomed && name === 'viewBox')) continue;
      old.setAttribute(name, value);
      if (name === 'value' && old.tagName === 'INPUT' && old !== document.activeElement) old.value = value;
    }
    for (const { name } of [...old.attributes]) {
      if (!now.hasAttribute(name) && name !== 'data-zoomed' && name !== 'style') old.removeAttribute(name);
    }
  };

  const morph = (old, now) => {
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName) { old.replaceWith(now); return; }
    if (old.nodeType !== 1) {
      if (old.data !== now.data) { old.data = now.data; flash(old); }
      return;
    }
    attributes(old, now);
    children(old, now);
  };

  const children = (old, now) => {
    const olds = [...old.childNodes], nows = [...now.childNodes];
    if (!nows.some(keyOf)) {
      nows.forEach((node, i) => (olds[i] ? morph(olds[i], node) : old.append(node)));
      olds.slice(nows.length).forEach((node) => node.remove());
      return;
    }
    const known = new Map(olds.filter(keyOf).map((node) => [keyOf(node), node]));
    let at = old.firstChild;
    for (const node of nows) {
      const key = keyOf(node);
      let kept = key === null ? null : known.get(key);
      if (kept && kept.nodeName === node.nodeName) { known.delete(key); morph(kept, node); } else kept = node;
      if (kept === at) at = at.nextSibling; else old.insertBefore(kept, at);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  };

  // Rows slide to where they are now.
  const SLIDE_REST_MS = 1500;
  const keys = (tile) => [...tile.querySelectorAll('tr[data-key]')];
  const slide = (tile, change) => {
    const now = performance.now();
    // Rows that move with every record would never come to rest.
    if (still.matches || document.hidden || now - (tile.slidAt || -1e9) < SLIDE_REST_MS) return change();
    const before = new Map(keys(tile).map((row) => [row, row.offsetTop]));
    change();
    for (const row of keys(tile)) {
      const from = before.get(row);
      if (from !== undefined && from !== row.offsetTop) {
        tile.slidAt = now;
        row.animate([{ transform: `translateY(${from - row.offsetTop}px)` }, { transform: 'none' }], { duration: 180, easing: 'ease-out' });
      }
    }
  };

  // ---- events ------------------------------------------------------------------------------------------------------
  const SILENT_MS = 15000;        // the server speaks every second; a longer silence is a dead connection
  const HIDDEN_MS = 2000;         // a browser has few connections: a hidden tab leaves its own to the visible ones
  const STALE_INTERVALS = 5, STALE_MIN_S = 5;
  let source = null, retry = 0, heard = 0, goneSince = null, paused = false, every = 1;
  let currentSince = performance.now() + 1e12;
  const held = new Map();         // tiles that would move under the pointer, with what they will be

  const say = (text) => { const live = $('live'); if (live && live.textContent !== text) live.textContent = text; };
  const clock = (date) => date.toLocaleTimeString([], { hour12: false });

  const connected = () => {
    goneSince = null;
    document.body.classList.remove('disconnected');
    if ($('offline')) $('offline').hidden = true;
  };
  const disconnected = () => {
    goneSince ||= new Date();
    document.body.classList.add('disconnected');
    const bar = $('offline');
    if (bar) { bar.textContent = `Disconnected since ${clock(goneSince)}. The last picture stays; trying again…`; bar.hidden = false; }
  };

  const close = () => { clearTimeout(retry); if (source) source.close(); source = null; };
  const open = () => {
    close();
    if (!grid || paused) return;
    heard = performance.now();
    source = new EventSource('/events' + location.search);
    source.addEventListener('picture', (event) => { heard = performance.now(); connected(); take(JSON.parse(event.data)); });
    source.onerror = () => {
      disconnected();
      // A refusal ends an EventSource for good; we do not give up.
      if (source && source.readyState === EventSource.CLOSED) { close(); retry = setTimeout(open, 2000); }
    };
  };

  const only = grid && grid.dataset.only;
  const tileOf = (slot) => grid.querySelector(`article[data-slot="${CSS.escape(slot)}"]`);
  const rowKeys = (root) => [...root.querySelectorAll('[data-key]')].map(keyOf).join('\u0000');

  const swap = (tile, now) => {
    const refit = tile.getAttribute('data-state') !== now.getAttribute('data-state');
    slide(tile, () => morph(tile, now));
    if (refit && tile.dataset.state === 'broken') say(`${tile.querySelector('h2').textContent}: error`);
  };

  const update = (slot, html) => {
    const now = parse(html).firstElementChild;
    const tile = tileOf(slot);
    if (!tile) { grid.append(now); return; }
    const busy = tile.matches(':hover') || tile.contains(document.activeElement);
    // A request of the user is not held back.
    const same = ['data-state', 'data-view'].every((name) => tile.getAttribute(name) === now.getAttribute(name));
    const moves = busy && same && rowKeys(tile) !== rowKeys(now);
    if (moves) { held.set(slot, html); tile.classList.add('held'); return; }
    held.delete(slot);
    swap(tile, now);
  };

  const release = (tile) => {
    const html = held.get(tile.dataset.slot);
    if (html === undefined || tile.matches(':hover') || tile.contains(document.activeElement)) return;
    held.delete(tile.dataset.slot);
    swap(tile, parse(html).firstElementChild);
  };

  const take = (picture) => {
    every = picture.every;
    currentSince = performance.now() - picture.age * 1000;
    const strip = $('strip');
    if (strip) { const now = parse(picture.strip); children(strip, now); }
    for (const [slot, html] of Object.entries(picture.tiles)) if (!only || slot === only) update(slot, html);
    if (!only) {
      const there = new Set(picture.order);
      for (const tile of [...grid.querySelectorAll('article[data-slot]')]) if (!there.has(tile.dataset.slot)) tile.remove();
      picture.order.forEach((slot, i) => {
        const tile = tileOf(slot);
        if (tile && grid.children[i] !== tile) grid.insertBefore(tile, grid.children[i] || null);
      });
      const nothing = document.querySelector('.nothing');
      if (nothing) nothing.hidden = picture.order.length > 0;
    }
    grid.dataset.seq = picture.seq;
    ages();
    tipAgain();
  };

  const ages = () => {
    const seconds = Math.max(0, (performance.now() - currentSince) / 1000);
    const stale = seconds > Math.max(STALE_MIN_S, STALE_INTERVALS * every);
    const text = seconds > 1e8 ? '' : seconds < 2 ? 'now' : seconds < 120 ? `${Math.floor(seconds)} s ago` : `${Math.floor(seconds / 60)} min ago`;
    for (const age of document.querySelectorAll('[data-age]')) {
      if (age.textContent !== text) age.textContent = text;
      age.classList.toggle('stale', stale && !paused);
    }
  };

  if (grid) {
    setInterval(() => {
      ages();
      if (source && performance.now() - heard > SILENT_MS) { disconnected(); open(); }
    }, 1000);
    grid.addEventListener('pointerout', (event) => { const tile = event.target.closest('article'); if (tile) setTimeout(() => release(tile), 150); });
    grid.addEventListener('focusout', (event) => { const tile = event.target.closest('article'); if (tile) setTimeout(() => release(tile), 150); });
    let hidden = 0;
    document.addEventListener('visibilitychange', () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = setTimeout(close, HIDDEN_MS); else if (!source) open();
    });
    open();
  }

  // ---- pause -------------------------------------------------------------------------------------------------------
  const pause = () => {
    if (!grid || !$('pause')) return;
    paused = !paused;
    document.body.classList.toggle('paused', paused);
    $('pause').setAttribute('aria-pressed', String(paused));
    $('pause').textContent = paused ? 'Paused' : 'Pause';
    $('pause').title = paused ? `Since ${clock(new Date())} (p goes on)` : 'Pause (p)';
    if (paused) { close(); connected(); } else open();
  };
  if ($('pause')) { $('pause').hidden = false; $('pause').onclick = pause; }

  // ---- parameters: a form whose values are part of the address -----------------------------------------------------
  document.addEventListener('submit', (event) => {
    const form = event.target.closest('form[data-params]');
    if (!form || !grid) return;
    event.preventDefault();
    const url = new URL(location.href);
    for (const input of form.querySelectorAll('input')) url.searchParams.set(input.name, input.value);
    history.pushState(null, '', url);
    if (document.activeElement) document.activeElement.blur();
    if (paused) pause(); else open();
  });
  addEventListener('popstate', open);

  // ---- all about a tile --------------------------------------------------------------------------------------------
  const dialog = $('detail');
  const detail = async (link) => {
    const answer = await fetch(`${link.pathname}/detail${location.search}`);
    const body = dialog.querySelector('.body');
    body.replaceChildren(parse(await answer.text()));
    if (!dialog.open) dialog.showModal();
  };
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-detail]');
    if (!link || !dialog || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    detail(link).catch(() => { location.href = link.href; });
  });
  if (dialog) dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });

  // ---- hover -------------------------------------------------------------------------------------------------------
  const tip = $('tip');
  let tipped = null, pointer = null;
  const hideTip = () => { tipped = null; tip.hidden = true; };
  const showTip = (mark, x, y) => {
    tipped = mark;
    tip.textContent = mark.getAttribute('data-tip');
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.max(4, Math.min(x + 14, innerWidth - width - 4));
    const top = y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18;
    tip.style.transform = `translate(${left}px, ${top}px)`;
  };
  const markAt = (x, y) => { const at = document.elementFromPoint(x, y); return at && at.closest('[data-tip]'); };
  // What lies under a pointer that rests may be another record now.
  const tipAgain = () => {
    if (!tipped || !pointer) return;
    const mark = markAt(pointer.x, pointer.y);
    if (mark) showTip(mark, pointer.x, pointer.y); else hideTip();
  };
  if (tip) {
    document.addEventListener('pointermove', (event) => {
      pointer = { x: event.clientX, y: event.clientY };
      const mark = event.target.closest && event.target.closest('[data-tip]');
      if (mark) showTip(mark, event.clientX, event.clientY); else if (tipped) hideTip();
    }, { passive: true });
    document.addEventListener('pointerleave', hideTip);
    addEventListener('scroll', () => { if (tipped) hideTip(); }, { passive: true });
  }

  // ---- maps: drag, Ctrl and wheel, double click, + − 0 ---------------------------------------------------------------
  const boxOf = (map) => map.getAttribute('viewBox').split(/[\s,]+/).map(Number);
  const look = (map, box) => {
    map.setAttribute('viewBox', box.map((n) => n.toFixed(2)).join(' '));
    map.style.setProperty('--zoom', (map.whole[2] / box[2]).toFixed(3));
  };
  const grab = (map) => { if (!map.whole) map.whole = boxOf(map); map.dataset.zoomed = ''; };
  const zoom = (map, factor, x, y) => {
    grab(map);
    const [left, top, width, height] = boxOf(map), [, , most] = map.whole;
    const now = Math.min(most * 1.5, Math.max(most / 400, width / factor)), scale = now / width;
    const rect = map.getBoundingClientRect();
    const fx = x === undefined ? 0.5 : (x - rect.left) / rect.width, fy = y === undefined ? 0.5 : (y - rect.top) / rect.height;
    look(map, [left + width * fx * (1 - scale), top + height * fy * (1 - scale), now, height * scale]);
  };
  const whole = (map) => {
    if (!map.whole) return;
    look(map, map.whole);
    delete map.dataset.zoomed; delete map.whole;
  };
  const mapsOf = (tile) => (tile ? [...tile.querySelectorAll('svg.map')] : []);
  document.addEventListener('wheel', (event) => {
    const map = event.ctrlKey && event.target.closest && event.target.closest('svg.map');
    if (!map) return;
    event.preventDefault();
    zoom(map, Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
  }, { passive: false });
  document.addEventListener('dblclick', (event) => {
    const map = event.target.closest('svg.map');
    if (map) { event.preventDefault(); zoom(map, 2, event.clientX, event.clientY); }
  });
  let drag = null;
  document.addEventListener('pointerdown', (event) => {
    const map = event.button === 0 && event.pointerType !== 'touch' && event.target.closest && event.target.closest('svg.map');
    if (map) { drag = { map, x: event.clientX, y: event.clientY, box: boxOf(map) }; event.preventDefault(); }
  });
  document.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const { map, x, y, box } = drag;
    if (Math.hypot(event.clientX - x, event.clientY - y) < 3 && !map.classList.contains('dragged')) return;
    grab(map);
    map.classList.add('dragged');
    const rect = map.getBoundingClientRect();
    look(map, [box[0] - (event.clientX - x) * box[2] / rect.width, box[1] - (event.clientY - y) * box[3] / rect.height, box[2], box[3]]);
  });
  addEventListener('pointerup', () => { if (drag) drag.map.classList.remove('dragged'); drag = null; });

  // ---- keys --------------------------------------------------------------------------------------------------------
  const tiles = () => [...document.querySelectorAll('article.tile')];
  const current = () => document.activeElement && document.activeElement.closest('article.tile');
  const step = (by) => {
    const all = tiles();
    if (!all.length) return;
    const at = all.indexOf(current());
    const tile = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length];
    tile.focus();
    tile.scrollIntoView({ block: 'nearest', behavior: still.matches ? 'auto' : 'smooth' });
  };
  const showKeys = () => { if ($('keys')) $('keys').showModal(); };
  const wall = () => { const url = new URL(location.href); if (url.searchParams.has('wall')) url.searchParams.delete('wall'); else url.searchParams.set('wall', ''); location.href = url; };
  const onMaps = (change) => mapsOf(current() || document.querySelector('article.is-map:hover')).forEach(change);
  const actions = {
    '?': showKeys, p: pause, t: () => { if ($('theme')) $('theme').click(); }, w: wall, j: () => step(1), k: () => step(-1),
    '+': () => onMaps((map) => zoom(map, 1.5)), '=': () => onMaps((map) => zoom(map, 1.5)),
    '-': () => onMaps((map) => zoom(map, 1 / 1.5)), 0: () => onMaps(whole),
    Enter: () => { const tile = document.activeElement; if (tile && tile.matches('article.tile')) tile.querySelector('a[data-detail]').click(); },
    Escape: () => { if (tip) hideTip(); if (document.activeElement && document.activeElement.matches('article.tile')) document.activeElement.blur(); },
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select, dialog[open]')) return;
    const action = actions[event.key];
    if (action) { if (event.key !== 'Enter' && event.key !== 'Escape') event.preventDefault(); action(); }
  });
  if ($('help')) { $('help').hidden = false; $('help').onclick = showKeys; }
})();
