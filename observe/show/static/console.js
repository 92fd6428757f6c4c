// The console without this file shows everything; with it: local times, values under the pointer, keys, news.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const two = (n) => String(n).padStart(2, "0");

  // ---- times in the reader's own zone; UTC stays in the hover
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  function local(ms, form) {
    const d = new Date(ms);
    const hm = `${two(d.getHours())}:${two(d.getMinutes())}`;
    const now = Number(document.body.dataset.now || Date.now());
    if (form === "hm") return new Date(now).toDateString() === d.toDateString() || Math.abs(now - ms) < 43200000 ? hm : `${d.getDate()} ${MONTHS[d.getMonth()]} ${hm}`;
    if (form === "hms") return `${hm}:${two(d.getSeconds())}`;
    if (form === "full") return `${hm}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
    return `${d.getDate()} ${MONTHS[d.getMonth()]} ${hm}`;
  }
  const inAxis = (node) => node.namespaceURI === SVG;
  function localTimes(root) {
    for (const node of $$("[data-t][data-form]", root)) {
      const form = node.dataset.form, ms = Number(node.dataset.t), d = new Date(ms);
      node.textContent = inAxis(node) && form === "hm" ? `${two(d.getHours())}:${two(d.getMinutes())}` : local(ms, form);
    }
    for (const field of $$("[data-zone]", root)) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  }

  // ---- charts: the values under the pointer, and a range to zoom into
  function wire(figure) {
    if (figure.wired || !figure.dataset.chart) return;
    figure.wired = true;
    const data = JSON.parse(figure.dataset.chart), times = data.t;
    if (!times.length) return;
    const last = data.end || times[times.length - 1];
    let tip = null, from = null;
    const shown = () => $$("svg", figure).find((svg) => svg.getBoundingClientRect().width > 0);
    const place = (svg, event) => {
      const box = svg.getBoundingClientRect(), [left, right, top, bottom] = svg.dataset.plot.split(" ").map(Number);
      const scale = box.width / svg.viewBox.baseVal.width;
      const share = Math.min(1, Math.max(0, ((event.clientX - box.left) / scale - left) / (right - left)));
      return { box, left, right, top, bottom, scale, share, ms: times[0] + share * (last - times[0]) };
    };
    const mark = (svg, name) => {
      let node = $("." + name, svg);
      if (!node) { node = document.createElementNS(SVG, "rect"); node.setAttribute("class", name); svg.append(node); }
      return node;
    };
    const clear = () => { if (tip) tip.remove(); tip = null; $$(".cross, .zoom", figure).forEach((n) => n.remove()); };
    figure.addEventListener("pointermove", (event) => {
      const svg = shown();
      if (!svg) return;
      const p = place(svg, event);
      let index = 0;
      if (data.bars) while (index + 1 < times.length && times[index + 1] <= p.ms) index++;
      else { let low = 0, high = times.length - 1; while (high - low > 1) { const mid = (low + high) >> 1; if (times[mid] <= p.ms) low = mid; else high = mid; } index = p.ms - times[low] < times[high] - p.ms ? low : high; }
      const x = p.left + (times[index] - times[0]) / Math.max(1, last - times[0]) * (p.right - p.left);
      const cross = mark(svg, "cross");
      cross.setAttribute("x", data.bars ? x : x - 0.5); cross.setAttribute("width", 1);
      cross.setAttribute("y", p.top); cross.setAttribute("height", p.bottom - p.top);
      if (from !== null) {
        const zoom = mark(svg, "zoom"), a = p.left + Math.min(from, p.share) * (p.right - p.left), b = p.left + Math.max(from, p.share) * (p.right - p.left);
        zoom.setAttribute("x", a); zoom.setAttribute("width", b - a); zoom.setAttribute("y", p.top); zoom.setAttribute("height", p.bottom - p.top);
      }
      const rows = data.lines.map(([name, values]) => values[index] ? `${values[index]}  ${name.length > 42 ? name.slice(0, 41) + "…" : name}` : "").filter((row) => row && !row.startsWith("0  "));
      if (data.band && data.band[index]) rows.push(`${data.band[index]}  expected`);
      if (!tip) { tip = make("div", "tip"); figure.append(tip); }
      tip.textContent = [local(times[index], times.length > 1 && times[1] - times[0] < 60000 ? "hms" : "hm"), ...(rows.length ? rows : ["no samples"])].join("\n");
      const host = figure.getBoundingClientRect(), at = p.box.left - host.left + x * p.scale;
      tip.style.left = `${at + 14 + tip.offsetWidth > host.width ? Math.max(0, at - 14 - tip.offsetWidth) : at + 14}px`;
      tip.style.top = `${p.box.top - host.top + p.top * p.scale + 4}px`;
    });
    figure.addEventListener("pointerleave", () => { if (from === null) clear(); });
    figure.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse" && event.button === 0) { const svg = shown(); if (svg) { from = place(svg, event).share; event.preventDefault(); } } });
    window.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const svg = shown(), to = svg ? place(svg, event).share : from, a = Math.min(from, to), b = Math.max(from, to);
      from = null; clear();
      if (b - a > 0.01) {
        const url = new URL(location.href), span = last - times[0];
        url.searchParams.delete("range"); url.searchParams.delete("cursor"); url.searchParams.delete("tail");
        url.searchParams.set("start", ((times[0] + a * span) / 1000).toFixed(3)); url.searchParams.set("end", ((times[0] + b * span) / 1000).toFixed(3));
        location.assign(url);
      }
    });
  }

  // ---- long traces come in pieces
  async function moreSpans(link) {
    link.setAttribute("aria-busy", "true");
    const answer = await fetch(link.dataset.src, { headers: { "X-Fragment": "1" } }).catch(() => null);
    if (!answer || !answer.ok) { location.assign(link.href); return; }
    const read = new DOMParser().parseFromString(`<ol>${await answer.text()}</ol>`, "text/html");
    const [first] = $("ol", read).children;
    link.closest("li").replaceWith(...$("ol", read).children);
    const name = first && $("a", first);
    if (name) name.focus({ preventScroll: true });
  }

  // ---- a span's attributes beside the waterfall
  async function openSpan(link) {
    const panel = $("#span-panel");
    if (!panel) return false;
    const answer = await fetch(link.href, { headers: { "X-Fragment": "1" } }).catch(() => null);
    if (!answer || !answer.ok) { location.assign(link.href); return true; }
    panel.replaceChildren(...new DOMParser().parseFromString(await answer.text(), "text/html").body.childNodes);
    $$(".span-row.picked").forEach((row) => row.classList.remove("picked"));
    link.closest(".span-row").classList.add("picked");
    const url = new URL(location.href); url.searchParams.set("span", link.dataset.span); history.replaceState(null, "", url);
    if (panel.getBoundingClientRect().top > innerHeight - 80) panel.scrollIntoView({ block: "nearest" });
    return true;
  }

  function dress(root) {
    localTimes(root);
    $$("figure.chart[data-chart]", root).forEach(wire);
  }

  // ---- news: the same page again, its part put in place, unless the reader is busy in it
  const every = Number(document.body.dataset.live || 0) * 1000;
  function busy() {
    const part = $("#news");
    if (!part || document.hidden || $("#tail")) return true;
    const active = document.activeElement, chosen = getSelection();
    return part.matches(":has(details[open])") || (active && part.contains(active) && active.matches("input, textarea, select")) ||
      (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode)) || Boolean($(".tip"));
  }
  let since = 0;
  function offline(gone) {
    let note = $("#offline");
    if (!gone) { since = 0; if (note) note.remove(); return; }
    since = since || Date.now();
    if (!note) { note = make("p", "offline"); note.id = "offline"; note.setAttribute("role", "status"); document.body.append(note); }
    note.textContent = `No answer from observe since ${local(since, "hms")}. This page is as it was then; it is asked again every ${every / 1000} s.`;
  }
  async function refresh() {
    if (busy()) return;
    const answer = await fetch(location.href, { headers: { "X-Fragment": "news" } }).catch(() => null);
    offline(!answer || answer.status >= 500);
    if (!answer || !answer.ok || answer.redirected || busy()) return;
    const read = new DOMParser().parseFromString(await answer.text(), "text/html"), fresh = $("#news", read);
    if (fresh) { localTimes(fresh); $("#news").replaceChildren(...fresh.childNodes); dress($("#news")); document.title = read.title; }
  }
  if (every) setInterval(refresh, every);

  // ---- live tail
  const tail = $("#tail"), lines = $("#log-lines");
  if (tail && lines) setInterval(async () => {
    if (document.hidden) return;
    const first = $("li.log", lines), url = new URL(tail.dataset.src, location.href);
    if (first) url.searchParams.set("after", first.dataset.ns);
    const answer = await fetch(url, { headers: { "X-Fragment": "1" } }).catch(() => null);
    if (!answer || !answer.ok) return;
    const read = new DOMParser().parseFromString(`<ol>${await answer.text()}</ol>`, "text/html"), fresh = $$("li.log", read);
    fresh.forEach((row) => row.classList.add("new"));
    lines.prepend(...fresh); localTimes(lines);
    $$("li.log", lines).slice(1000).forEach((row) => row.remove());
  }, 2000);

  // ---- a range typed in: the reader's zone, sent as Unix seconds
  for (const form of $$("form[data-range]")) {
    for (const field of $$("[data-ms]", form)) {
      const d = new Date(Number(field.dataset.ms));
      field.value = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
    }
    $(".zone", form).textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const url = new URL(form.action, location.href);
      for (const [name, value] of new FormData(form)) url.searchParams.set(name, name === "start" || name === "end" ? String(new Date(value).getTime() / 1000) : value);
      location.assign(url);
    });
  }

  // ---- names of metrics, offered while an expression is written
  const box = $("textarea[data-submit]");
  if (box) {
    let names = null, list = null;
    const word = () => /[a-zA-Z_:][a-zA-Z0-9_:]*$/.exec(box.value.slice(0, box.selectionStart));
    const close = () => { if (list) list.remove(); list = null; };
    const take = (name) => {
      const at = word(), from = at ? at.index : box.selectionStart;
      box.setRangeText(name, from, box.selectionStart, "end"); close(); box.focus();
    };
    box.addEventListener("input", async () => {
      if (!names) {
        names = [];
        const answer = await fetch("/api/v1/label/__name__/values").catch(() => null);
        if (answer && answer.ok) names = (await answer.json()).data;
      }
      close();
      const at = word(), text = at ? at[0].toLowerCase() : "";
      if (text.length < 2) return;
      const found = [...names.filter((n) => n.toLowerCase().startsWith(text)), ...names.filter((n) => n.toLowerCase().indexOf(text) > 0)].filter((n) => n !== at[0]).slice(0, 12);
      if (!found.length) return;
      list = make("ul", "suggest");
      found.forEach((name) => { const row = make("li", "", name); row.addEventListener("mousedown", (event) => { event.preventDefault(); take(name); }); list.append(row); });
      box.closest("form").append(list);
    });
    box.addEventListener("blur", close);
    box.addEventListener("keydown", (event) => {
      if (!list) return;
      const rows = $$("li", list), now = rows.findIndex((row) => row.classList.contains("picked"));
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        rows.forEach((row) => row.classList.remove("picked"));
        rows[(now + (event.key === "ArrowDown" ? 1 : rows.length - 1) + (now < 0 && event.key === "ArrowUp" ? 1 : 0)) % rows.length].classList.add("picked");
      } else if (event.key === "Tab" || (event.key === "Enter" && now >= 0)) {
        event.preventDefault(); event.stopPropagation(); take(rows[Math.max(0, now)].textContent);
      } else if (event.key === "Escape") { event.stopPropagation(); close(); }
    });
  }

  // ---- theme: a cookie, so that the server sends the right one at once
  function turn() {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const next = dark ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
  }

  // ---- keys
  const rowsOf = () => $$(".rows .row, .traces li, .log-lines > li.log, .span-row");
  let going = 0;
  function step(change) {
    const rows = rowsOf();
    if (!rows.length) return;
    const now = rows.findIndex((row) => row.classList.contains("picked")), next = Math.min(rows.length - 1, Math.max(0, now + change));
    rows.forEach((row) => row.classList.remove("picked"));
    rows[next].classList.add("picked");
    rows[next].scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape") { if (typing) event.target.blur(); $$("details.menu[open]").forEach((menu) => { menu.open = false; }); return; }
    if (typing && event.target.matches("[data-submit]") && event.key === "Enter" && !event.shiftKey) { event.preventDefault(); event.target.form.requestSubmit(); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Date.now() - going < 1200) {
      const path = { h: "/", a: "/alerts", l: "/logs", t: "/traces", e: "/explore", b: "/boards", r: "/rules" }[event.key];
      going = 0;
      if (path) { location.assign(path); return; }
    }
    switch (event.key) {
      case "/": event.preventDefault(); $("#find").focus(); break;
      case "?": $("#keys").showModal(); break;
      case "d": turn(); break;
      case "g": going = Date.now(); break;
      case "j": step(1); break;
      case "k": step(-1); break;
      case "Enter": { const row = $(".picked"); if (row && event.target === document.body) { const target = $("a, summary", row); if (target) target.click(); } break; }
    }
  });
  document.addEventListener("click", (event) => {
    const span = event.target.closest("a[data-span]");
    const more = event.target.closest(".more-spans a[data-src]");
    if (more && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); moreSpans(more); return; }
    if (span && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); openSpan(span); return; }
    $$("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  $("#theme").addEventListener("click", turn);
  const keys = $("#keys-open");
  if (keys) keys.addEventListener("click", () => $("#keys").showModal());
  dress(document);
})();
