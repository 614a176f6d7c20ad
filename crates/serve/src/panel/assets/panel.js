// A control panel: follows its event stream, moves without reloading, and never takes event data for markup.
(function () {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const RADIUS_UNITS = 92;
  const EARTH_RADIUS_KM = 6371.0088;
  const MAX_RADIUS_KM = 20100;
  const DIMMEST = 0.28;
  const STAR = "M0-3.4 1-1.1 3.5-.9 1.6.7 2.2 3.1 0 1.8-2.2 3.1-1.6.7-3.5-.9-1-1.1Z";
  const WINDS = ["N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"];
  const ANNOUNCE_MS = 6000; // a screen reader is not talked over
  const RETRY_MS = 4000;
  const HIDDEN_MS = 2000; // a browser has few connections: a hidden tab gives its own to those that are seen
  const at = (id) => document.getElementById(id);
  const main = at("panel");
  const linkOf = (query) => main.dataset.base + "?" + query;
  const svg = at("map");

  let area = null; // {lat, lon, radius_km}
  let shape = { names: [], title: null, tags: [], flag: null };
  let rows = []; // newest first: {row, item, mark}
  let state = null;
  let error = null;
  let ready = false;
  let about = { title: document.title.split(" · ")[0] };
  let source = null;
  let lostSince = null;
  let retry = 0;
  let hasLocation = true;
  let slow = 0;
  let shown = null; // the row whose record is open

  // ── texts ────────────────────────────────────────────────────────────────
  const number = new Intl.NumberFormat("en");
  const plain = (value, decimals) => String(Number(value.toFixed(decimals)));
  const distance = (km) =>
    km < 1 ? plain(km * 1000, km < 0.01 ? 1 : 0) + " m" : number.format(Number(km.toFixed(km < 100 ? 3 : 0))) + " km";
  const compass = (x, y) => WINDS[Math.round(((Math.atan2(x, y) / (2 * Math.PI) + 1) % 1) * 16) % 16];
  function age(millis) {
    const seconds = Math.floor((Date.now() - millis) / 1000);
    if (seconds < 1) return "now";
    if (seconds < 60) return seconds + " s";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min";
    if (seconds < 86400) return Math.floor(seconds / 3600) + " h";
    return Math.floor(seconds / 86400) + " d";
  }
  const clock = (millis) => new Date(millis).toLocaleTimeString([], { hour12: false });

  function make(name, attributes, ...children) {
    const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  const bdi = (text, name) => {
    const element = make("bdi", name ? { class: name } : {});
    element.textContent = text;
    return element;
  };

  // ── rows ─────────────────────────────────────────────────────────────────
  const title = (row) => (shape.title === null ? "—" : row.values[shape.title] ?? "—");

  function itemOf(row) {
    const item = make("li", { "data-k": row.k, tabindex: "0" });
    if (row.flag) item.classList.add("flagged");
    const time = make("time");
    const tags = shape.tags.map((column) => row.values[column]).filter((tag) => tag !== null && tag !== undefined);
    const tagged = make("span", { class: "tags" }, ...tags.map((tag) => bdi(tag)));
    if (row.flag && shape.flag !== null) tagged.append(bdi(shape.names[shape.flag], "flag"));
    const way = make("span", { class: "way" });
    if (row.at) way.textContent = compass(...row.at) + " " + distance(Math.hypot(...row.at));
    item.append(make("span", { class: "name" }, bdi(title(row))), make("span", { class: "age" }, time), tagged, way);
    return item;
  }

  function markOf(row) {
    if (!row.at) return null;
    const scale = RADIUS_UNITS / area.radius_km;
    const [x, y] = [row.at[0] * scale, -row.at[1] * scale];
    const mark = make("svg:g", { class: "mark", "data-k": row.k, transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` });
    mark.append(row.flag ? make("svg:path", { d: STAR }) : make("svg:circle", { r: 2 }));
    return mark;
  }

  function add(newRows, first, fresh) {
    const list = at("list");
    const marks = at("marks");
    const items = document.createDocumentFragment();
    // What has focus, or is under the pointer, must not run away: the list grows above it.
    const before = list.firstElementChild ? list.scrollHeight : 0;
    for (const row of newRows) {
      const kept = { row, item: itemOf(row), mark: markOf(row) };
      if (fresh) {
        kept.item.classList.add("fresh");
        if (kept.mark) kept.mark.classList.add("fresh");
      }
      items.prepend(kept.item);
      if (kept.mark) marks.append(kept.mark);
      rows.unshift(kept);
    }
    list.prepend(items);
    const held = list.scrollTop > 8 || list.matches(":hover") || list.contains(document.activeElement);
    if (held && before > 0) list.scrollTop += list.scrollHeight - before;
    while (rows.length > 0 && rows[rows.length - 1].row.k < first) {
      const oldest = rows.pop();
      if (oldest === shown) hideCard();
      oldest.item.remove();
      if (oldest.mark) oldest.mark.remove();
    }
    fade();
    tick();
  }

  function fade() {
    const span = Math.max(rows.length, 40);
    rows.forEach((kept, index) => {
      if (kept.mark) kept.mark.setAttribute("opacity", (1 - ((1 - DIMMEST) * index) / span).toFixed(2));
    });
  }

  function tick() {
    for (const { row, item } of rows) {
      if (row.t === null) continue;
      const time = item.querySelector("time");
      const text = age(row.t);
      if (time.textContent !== text) time.textContent = text;
    }
    if (lostSince || (state && state.phase === "unreachable")) show();
  }

  function count(data) {
    at("total").textContent = number.format(data.total);
    at("minute").textContent = number.format(data.minute);
    at("minute").parentNode.hidden = data.minute === data.total;
    at("sampled").hidden = !data.sampled;
    error = data.error;
    ready = data.ready;
  }

  let announced = 0;
  function announce(newRows) {
    if (newRows.length === 0 || Date.now() - announced < ANNOUNCE_MS) return;
    announced = Date.now();
    const newest = newRows[newRows.length - 1];
    const where = newest.at ? `, ${distance(Math.hypot(...newest.at))} ${compass(...newest.at)}` : "";
    const others = newRows.length > 1 ? `, and ${newRows.length - 1} more` : "";
    at("live").textContent = `${title(newest)}${where}${others}`;
  }

  // ── state ────────────────────────────────────────────────────────────────
  function show() {
    const chip = at("state");
    const sqlError = (state && state.sql_error) || error;
    const say = (kind, word, heading, detail, code) => {
      chip.className = kind;
      if (chip.textContent !== word) chip.textContent = word;
      const banner = at("banner");
      banner.className = rows.length === 0 ? kind + " alone" : kind;
      banner.hidden = heading === null;
      at("banner-title").textContent = heading || "";
      at("banner-detail").textContent = detail || "";
      at("banner-code").textContent = code || "";
      at("banner-code").hidden = !code;
    };
    document.body.classList.toggle("old", Boolean(lostSince) || Boolean(state && state.phase === "unreachable"));
    if (lostSince) {
      say("bad", "Disconnected", "No connection to the server", `Since ${clock(lostSince)}, ${age(lostSince)} ago. Tries again by itself; what is shown is from then.`, null);
    } else if (!state) {
      say("warn", "Connecting", null);
    } else if (state.phase === "unreachable") {
      say("bad", "No broker", state.title, `Since ${clock(state.since)}. ${state.detail}`, sqlError);
    } else if (sqlError) {
      say("bad", state.phase === "live" ? "Live, SQL error" : state.title, "The SQL has an error", state.phase === "broken" ? state.detail : "What ran before goes on.", sqlError);
    } else if (state.phase !== "live") {
      say("warn", state.title, state.title, state.detail, state.command);
    } else if (!hasLocation && rows.length > 0) {
      say("good", "Live", "Nothing to put on the map", "No column of the file says where a row lies; the list has the rows.", null);
    } else if (ready && rows.length === 0) {
      say("good", "Live", `Nothing within ${distance(area.radius_km)} yet`, "This page shows it the moment that something appears.", null);
    } else {
      say("good", "Live", null);
    }
  }

  // ── the map's ground ─────────────────────────────────────────────────────
  function ground(data) {
    at("graticule").setAttribute("d", data.graticule);
    at("degrees").replaceChildren(
      ...data.labels.map((label) => {
        const text = make("svg:text", { x: label.x, y: label.y });
        text.textContent = label.text;
        return text;
      }),
    );
    at("rings").replaceChildren(
      ...data.rings.flatMap((ring, index) => {
        const circle = make("svg:circle", { r: ring.r });
        if (index === data.rings.length - 1) circle.classList.add("own");
        const text = make("svg:text", { x: 0, y: (ring.r - 1.6).toFixed(2) });
        text.textContent = ring.label;
        return [circle, text];
      }),
    );
    at("map-title").textContent = `What appeared within ${distance(area.radius_km)} of ${area.lat}, ${area.lon}`;
  }

  // ── the stream ───────────────────────────────────────────────────────────
  function connect() {
    clearTimeout(retry);
    if (source) source.close();
    const opened = new EventSource(main.dataset.base + "/events?" + main.dataset.query);
    source = opened;
    const on = (name, handle) =>
      opened.addEventListener(name, (event) => {
        if (source !== opened) return;
        lostSince = null;
        handle(JSON.parse(event.data));
        show();
      });
    on("snapshot", (data) => {
      area = data.area;
      shape = data.shape;
      state = data.state;
      about = data.about;
      hasLocation = data.has_location;
      count(data);
      rows = [];
      at("list").replaceChildren();
      at("marks").replaceChildren();
      hideCard();
      ground(data.ground);
      fill();
      add(data.rows, 0, false);
      main.classList.remove("moving");
    });
    on("rows", (data) => {
      count(data);
      add(data.rows, data.first, true);
      announce(data.rows);
    });
    on("state", (data) => {
      state = data;
    });
    opened.onerror = () => {
      if (source !== opened) return;
      lostSince = lostSince || Date.now();
      main.classList.remove("moving");
      show();
      // After an answer that is not a stream the browser gives up, and we do not.
      if (opened.readyState === EventSource.CLOSED) retry = setTimeout(connect, RETRY_MS);
    };
  }

  let unseen = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(unseen);
    // A consumer group of its own ends with its stream, so that one stays.
    if (new URLSearchParams(main.dataset.query).get("own_group") === "true") return;
    if (!document.hidden && !source) connect();
    if (document.hidden) {
      unseen = setTimeout(() => {
        clearTimeout(retry);
        if (source) source.close();
        source = null;
      }, HIDDEN_MS);
    }
  });

  /** Puts place and file where the page says them. */
  function fill() {
    const heading = about.title || at("title").textContent;
    at("title").textContent = heading;
    document.title = `${heading} · ${area.lat}, ${area.lon}`;
    if (document.activeElement !== at("place")) at("place").value = `${area.lat}, ${area.lon}`;
    if (document.activeElement !== at("radius")) at("radius").value = area.radius_km;
    at("slider").value = Math.log10(area.radius_km);
    for (const link of document.querySelectorAll(".radii a")) {
      const other = new URLSearchParams(main.dataset.query);
      other.set("radius_km", link.dataset.radius);
      link.href = linkOf(other);
      if (Number(link.dataset.radius) === area.radius_km) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const own = new URLSearchParams(main.dataset.query);
    if (own.get("own_group") === "true") own.delete("own_group");
    else own.set("own_group", "true");
    at("own-group").href = linkOf(own);
    at("how").textContent = about.how || "";
    at("path").textContent = about.path || "";
    at("sql").textContent = about.sql || "";
    at("flag-legend").hidden = shape.flag === null;
    at("flag-name").textContent = shape.flag === null ? "" : shape.names[shape.flag];
  }

  // ── moving ───────────────────────────────────────────────────────────────
  const current = () => {
    const query = new URLSearchParams(main.dataset.query);
    return { lat: Number(query.get("lat")), lon: Number(query.get("lon")), radius_km: Number(query.get("radius_km")) };
  };

  function move(lat, lon, radiusKm, replace) {
    const query = new URLSearchParams(main.dataset.query);
    const wrapped = ((((lon + 180) % 360) + 360) % 360) - 180;
    const digits = radiusKm < 0.1 ? 7 : 5;
    query.set("lat", plain(Math.max(-90, Math.min(90, lat)), digits));
    query.set("lon", plain(wrapped, digits));
    query.set("radius_km", plain(Math.max(0.01, Math.min(MAX_RADIUS_KM, radiusKm)), 3));
    go(query.toString(), replace);
  }

  function go(query, replace) {
    if (query === main.dataset.query) return;
    main.dataset.query = query;
    history[replace ? "replaceState" : "pushState"](null, "", linkOf(query));
    main.classList.add("moving");
    complain(null);
    connect();
  }

  /** The place so many kilometres east and north of the centre: azimuthal equidistant, backwards. */
  function inverse(east, north) {
    const { lat, lon } = current();
    const length = Math.hypot(east, north);
    if (length === 0) return [lat, lon];
    const [sinLat, cosLat] = [Math.sin((lat * Math.PI) / 180), Math.cos((lat * Math.PI) / 180)];
    const angle = length / EARTH_RADIUS_KM;
    const [e, n] = [(Math.sin(angle) * east) / length, (Math.sin(angle) * north) / length];
    const outward = cosLat * Math.cos(angle) - sinLat * n;
    const axis = sinLat * Math.cos(angle) + cosLat * n;
    const degrees = 180 / Math.PI;
    return [Math.atan2(axis, Math.hypot(outward, e)) * degrees, lon + Math.atan2(e, outward) * degrees];
  }

  function step(east, north) {
    const { radius_km } = current();
    move(...inverse((east * radius_km) / 4, (north * radius_km) / 4), radius_km);
  }

  const STEPS = [1, 2, 5];
  function zoom(direction) {
    const { lat, lon, radius_km } = current();
    const all = [];
    for (let power = -2; power <= 4; power++) for (const one of STEPS) all.push(one * 10 ** power);
    all.push(MAX_RADIUS_KM);
    const next = direction > 0 ? all.find((km) => km > radius_km * 1.001) : all.findLast((km) => km < radius_km * 0.999);
    if (next) move(lat, lon, next);
  }

  svg.addEventListener("click", (event) => {
    const mark = event.target.closest(".mark");
    if (mark) return;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const { radius_km } = current();
    const scale = radius_km / RADIUS_UNITS;
    const reach = Math.hypot(point.x, point.y) * scale;
    if (reach > Math.PI * EARTH_RADIUS_KM) return;
    move(...inverse(point.x * scale, -point.y * scale), radius_km);
  });

  function complain(text) {
    at("place-error").hidden = text === null;
    at("place-error").textContent = text || "";
    if (text) at("place").setAttribute("aria-invalid", "true");
    else at("place").removeAttribute("aria-invalid");
  }

  function typed(text) {
    const parts = text.split(/[\s,;]+/).filter(Boolean);
    if (parts.length === 2 && parts.every((part) => part !== "" && Number.isFinite(Number(part)))) {
      const [lat, lon] = parts.map(Number);
      if (Math.abs(lat) > 90) return `${lat} is not a latitude: -90 to 90`;
      if (Math.abs(lon) > 180) return `${lon} is not a longitude: -180 to 180`;
      return [lat, lon];
    }
    for (const option of at("places").options) {
      if (option.value.toLowerCase() === text.trim().toLowerCase()) return option.dataset.at.split(",").map(Number);
    }
    return "Write latitude and longitude, as in 40.4168, -3.7038, or a name from the list.";
  }

  at("where").addEventListener("submit", (event) => {
    // Values of the file's own parameters are the server's to judge: it answers with the panel, or with what is wrong.
    const values = [...event.target.querySelectorAll(".value")];
    if (values.some((input) => input.value !== input.defaultValue)) return;
    event.preventDefault();
    const found = typed(at("place").value);
    if (typeof found === "string") return complain(found);
    const radius = Number(at("radius").value);
    if (!(radius > 0 && radius <= MAX_RADIUS_KM)) return complain(`The radius is above 0 and at most ${MAX_RADIUS_KM} km.`);
    complain(null);
    document.activeElement.blur();
    move(found[0], found[1], radius);
  });
  at("place").addEventListener("focus", (event) => event.target.select());
  at("place").addEventListener("change", (event) => {
    // A name chosen from the list needs no button.
    const names = [...at("places").options].map((option) => option.value);
    if (names.includes(event.target.value)) at("where").requestSubmit();
  });
  at("slider").addEventListener("input", () => {
    const km = 10 ** Number(at("slider").value);
    at("radius").value = Number(km.toPrecision(2));
    clearTimeout(slow);
    slow = setTimeout(() => {
      const { lat, lon } = current();
      move(lat, lon, Number(at("radius").value), false);
    }, 120);
  });
  document.querySelector(".radii").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const { lat, lon } = current();
    move(lat, lon, Number(link.dataset.radius));
  });
  window.addEventListener("popstate", () => {
    main.dataset.query = location.search.slice(1);
    main.classList.add("moving");
    connect();
  });

  // ── the record under the pointer or the focus ────────────────────────────
  function showCard(k) {
    const kept = rows.find((kept) => String(kept.row.k) === String(k));
    if (!kept) return hideCard();
    if (shown) unmark();
    shown = kept;
    kept.item.classList.add("chosen");
    if (kept.mark) kept.mark.classList.add("chosen");
    const card = at("card");
    const list = make("dl");
    shape.names.forEach((name, column) => {
      const value = kept.row.values[column];
      if (value === null || column === shape.title) return;
      list.append(make("dt", {}, bdi(name)), make("dd", {}, bdi(value)));
    });
    card.replaceChildren(make("strong", {}, bdi(title(kept.row))), list);
    card.hidden = !kept.mark;
    if (!kept.mark) return;
    const [box, dot] = [card.parentElement.getBoundingClientRect(), kept.mark.getBoundingClientRect()];
    const [x, y] = [dot.left + dot.width / 2 - box.left, dot.top + dot.height / 2 - box.top];
    const { offsetWidth: width, offsetHeight: height } = card;
    card.style.left = Math.max(8, Math.min(box.width - width - 8, x > box.width / 2 ? x - width - 14 : x + 14)) + "px";
    card.style.top = Math.max(8, Math.min(box.height - height - 8, y - height / 2)) + "px";
  }
  function unmark() {
    shown.item.classList.remove("chosen");
    if (shown.mark) shown.mark.classList.remove("chosen");
    shown = null;
  }
  function hideCard() {
    if (shown) unmark();
    at("card").hidden = true;
  }
  for (const [holder, one] of [[at("marks"), ".mark"], [at("list"), "li"]]) {
    holder.addEventListener("pointerover", (event) => {
      const found = event.target.closest(one);
      if (found) showCard(found.dataset.k);
    });
    holder.addEventListener("pointerleave", hideCard);
    holder.addEventListener("focusin", (event) => {
      const found = event.target.closest(one);
      if (found) showCard(found.dataset.k);
    });
    holder.addEventListener("focusout", hideCard);
  }

  // ── tools and keys ───────────────────────────────────────────────────────
  async function share() {
    const button = at("share");
    const link = location.origin + linkOf(main.dataset.query);
    let word = "Copied";
    try {
      await navigator.clipboard.writeText(link);
    } catch {
      word = "Copy it from the address bar";
    }
    button.textContent = word;
    at("live").textContent = word;
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  }
  at("share").addEventListener("click", share);
  at("help").addEventListener("click", () => at("keys").showModal());
  for (const id of ["share", "help", "slider"]) at(id).hidden = false;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || at("keys").open) return;
    if (event.target.closest("input, textarea, select, dialog, #list, details")) {
      if (event.key === "Escape") event.target.blur();
      if (!event.target.closest("#list")) return;
      // Arrows walk through the list while it has the focus.
      const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (next) {
        const item = event.target.closest("li");
        if (item && item[next]) item[next].focus();
        event.preventDefault();
        return;
      }
    }
    const act = {
      ArrowLeft: () => step(-1, 0),
      ArrowRight: () => step(1, 0),
      ArrowUp: () => step(0, 1),
      ArrowDown: () => step(0, -1),
      "+": () => zoom(1),
      "=": () => zoom(1),
      "-": () => zoom(-1),
      "/": () => at("place").focus(),
      c: share,
      t: () => at("theme").click(),
      "?": () => at("keys").showModal(),
      Escape: hideCard,
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  area = current();
  connect();
  setInterval(tick, 1000);
})();
