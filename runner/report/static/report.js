/* What a reader can do with the report: filter, sort, switch metrics, copy, zoom. Everything can be read without it.
 *
 * What was chosen is in the address: `#section?server=uwsgi&sort=figures-1.5.ascending`. */
"use strict";
(() => {
  const data = (id) => JSON.parse(document.getElementById(id).textContent);
  const every = (selector, within = document) => [...within.querySelectorAll(selector)];
  const cells = new Map(
    data("cells-data").map(([block, database, server, setting, status], at) => [
      String(at + 1),
      { block, database, server, setting, status, label: `${server} · ${setting}` },
    ]),
  );
  const FILTERS = { database: "Database", server: "Server", setting: "Setting", status: "Status" };
  let place = "";
  let choice = new URLSearchParams();

  document.documentElement.classList.add("js");

  /* --- The address */

  function readAddress() {
    const [anchor, query] = location.hash.slice(1).split("?");
    place = decodeURIComponent(anchor);
    choice = new URLSearchParams(query || "");
  }

  function address() {
    const query = choice.toString();
    return `#${encodeURIComponent(place)}${query ? `?${query}` : ""}`;
  }

  function choose(name, value) {
    if (value) choice.set(name, value);
    else choice.delete(name);
    history.replaceState(null, "", address());
  }

  function goTo(anchor) {
    const target = anchor && document.getElementById(anchor);
    if (!target) return;
    if (target.tagName === "DETAILS") target.open = true;
    if (target.hidden) clearFilters();
    target.scrollIntoView();
  }

  /* --- Filtering */

  const form = document.getElementById("filter");
  const shown = document.createElement("output");

  function buildFilters() {
    for (const [name, title] of Object.entries(FILTERS)) {
      const values = [...new Set([...cells.values()].map((cell) => cell[name]))];
      const select = document.createElement("select");
      select.name = name;
      select.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
      select.addEventListener("change", () => {
        choose(name, select.value);
        applyFilters();
      });
      const label = document.createElement("label");
      label.append(title, select);
      form.append(label);
    }
    const clear = document.createElement("button");
    clear.type = "button";
    clear.textContent = "Show all";
    clear.addEventListener("click", clearFilters);
    form.append(shown, clear);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
  }

  function clearFilters() {
    for (const name of Object.keys(FILTERS)) choose(name, "");
    applyFilters();
  }

  function applyFilters() {
    const wanted = Object.keys(FILTERS).filter((name) => choice.get(name));
    const matches = (cell) => wanted.every((name) => cell[name] === choice.get(name));
    const visible = new Set([...cells].filter(([, cell]) => matches(cell)).map(([number]) => number));
    for (const element of every("[data-c]")) {
      const off = !visible.has(element.dataset.c);
      if (element.tagName === "TD" || element.tagName === "g") element.classList.toggle("dim", off);
      else element.hidden = off;
    }
    const databases = new Set([...visible].map((number) => String(cells.get(number).block)));
    for (const block of every("[data-db]")) block.hidden = !databases.has(block.dataset.db);
    for (const select of form.querySelectorAll("select")) select.value = choice.get(select.name) || "";
    shown.textContent = `${visible.size} of ${cells.size} cells`;
  }

  /* --- Sorting */

  const original = new Map();

  function buildSorting() {
    for (const table of every("table.sortable")) {
      original.set(table, every("tbody tr", table));
      every(".names > *", table).forEach((head, column) => {
        if (head.tagName !== "TH") return;
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        head.replaceChildren(button);
        button.addEventListener("click", () => {
          const now = head.getAttribute("aria-sort");
          const next = { null: "ascending", ascending: "descending", descending: "" }[now];
          choose("sort", next && `${table.id}.${column}.${next}`);
          applySorting();
        });
      });
    }
  }

  function valueOf(row, column) {
    const text = row.children[column].textContent.trim();
    const number = parseFloat(text.replace(/^≥ /, ""));
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b) {
    const numbers = [a, b].map((value) => typeof value === "number");
    if (numbers[0] && numbers[1]) return a - b;
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    return a.localeCompare(b);
  }

  function applySorting() {
    const [id, column, direction] = (choice.get("sort") || "").split(".");
    for (const [table, rows] of original) {
      const sorted = table.id === id && direction;
      every(".names > *", table).forEach((head, number) => {
        if (sorted && number === Number(column)) head.setAttribute("aria-sort", direction);
        else head.removeAttribute("aria-sort");
      });
      const sign = direction === "descending" ? -1 : 1;
      const key = (row) => valueOf(row, Number(column));
      const order = sorted && rows[0]?.children[column] ? [...rows].sort((a, b) => sign * compare(key(a), key(b))) : rows;
      table.tBodies[0].append(...order);
    }
  }

  /* --- Switching metrics */

  function buildTabs() {
    for (const input of every(".tabs > input")) {
      input.addEventListener("change", () => choose(input.name, input.defaultChecked ? "" : input.value));
    }
  }

  function applyTabs() {
    for (const input of every(".tabs > input")) {
      const wanted = choice.get(input.name);
      if (wanted ? input.value === wanted : input.defaultChecked) input.checked = true;
    }
  }

  /* --- Copying */

  function buildCopying() {
    for (const block of every("pre.copy")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      const around = document.createElement("div");
      around.className = "copied";
      block.replaceWith(around);
      around.append(block, button);
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(block.textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(block);
          button.textContent = "Selected: now copy it";
        }
        setTimeout(() => (button.textContent = "Copy"), 2000);
      });
    }
  }

  /* --- Zooming */

  const STATES = ["active", "waiting", "idle_in_transaction", "idle"];
  const dialog = document.getElementById("zoom");
  let plots = [];
  let series = null;

  async function allSeries() {
    if (series === null) {
      const bytes = Uint8Array.from(atob(data("series-data")), (sign) => sign.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      series = JSON.parse(await new Response(stream).text());
    }
    return series;
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function phaseMarks(marks) {
    return (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = colour("--quiet");
      ctx.textAlign = "left";
      let before = "";
      for (const [hundredths, name] of marks) {
        const x = Math.round(plot.valToPos(hundredths / 100, "x", true));
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.globalAlpha = 0.4;
        ctx.stroke();
        ctx.globalAlpha = 1;
        if (name !== before) ctx.fillText(name, x + 4, bbox.top + 12);
        before = name;
      }
      ctx.restore();
    };
  }

  function axis(label, more = {}) {
    return { label, stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, labelSize: 22, size: 48, ...more };
  }

  const lasting = (one) => one.t.reduce((sum, step) => sum + step, 0) / 100;

  function connectionsPlot(one, width) {
    let now = 0;
    const times = one.t.map((step) => (now += step) / 100);
    const stacked = [];
    one.s.forEach((column, state) => stacked.push(column.map((value, at) => value + (state ? stacked[state - 1][at] : 0))));
    const drawn = STATES.map((state, at) => ({
      label: state.replaceAll("_", " "),
      stroke: colour(`--${state === "idle_in_transaction" ? "transaction" : state}`),
      fill: colour(`--${state === "idle_in_transaction" ? "transaction" : state}`),
      width: 0,
      points: { show: false },
      paths: uPlot.paths.stepped({ align: 1 }),
      value: (plot, value, number, index) => (index === null ? "–" : one.s[at][index]),
    }));
    const bounds = [["predicted at most", one.b[0], [6, 4], "--ink"], ["max_connections", one.b[1], [2, 3], "--bad"]];
    const lines = bounds
      .filter(([, bound]) => bound !== null && bound <= 2 * Math.max(...stacked.at(-1), 1))
      .map(([label, bound, dash, name]) => ({ label, dash, bound, stroke: colour(name), width: 1.5, points: { show: false } }));
    return new uPlot(
      {
        width,
        height: 300,
        cursor: { sync: { key: "zoom" } },
        scales: { x: { time: false, range: () => [0, lasting(one)] }, y: { range: (plot, low, high) => [0, Math.max(high, 1) * 1.08] } },
        axes: [axis("seconds driven or watched"), axis("connections")],
        series: [{ label: "seconds" }, ...drawn.reverse(), ...lines],
        hooks: { draw: [phaseMarks(one.m)] },
      },
      [times, ...stacked.reverse(), ...lines.map((line) => times.map(() => line.bound))],
      document.getElementById("zoom-plots"),
    );
  }

  function speedPlot(one, width) {
    const [times, rates, p95s] = one.v;
    const line = (label, name, scale) => ({ label, scale, stroke: colour(name), width: 2, points: { show: true, size: 5 } });
    return new uPlot(
      {
        width,
        height: 200,
        cursor: { sync: { key: "zoom" } },
        scales: { x: { time: false, range: () => [0, lasting(one)] }, rate: { range: (plot, low, high) => [0, high * 1.08 || 1] }, ms: { range: (plot, low, high) => [0, high * 1.08 || 1] } },
        axes: [axis("seconds driven or watched"), axis("requests/s", { scale: "rate" }), axis("p95, ms", { scale: "ms", side: 1, grid: { show: false } })],
        series: [{ label: "seconds" }, line("requests/s", "--work", "rate"), line("p95, ms", "--worse", "ms")],
        hooks: { draw: [phaseMarks(one.m)] },
      },
      [times.map((time) => time / 100), rates, p95s],
      document.getElementById("zoom-plots"),
    );
  }

  async function zoom(number) {
    const one = (await allSeries())[number];
    document.getElementById("zoom-title").textContent = cells.get(number).label;
    dialog.showModal();
    const width = document.getElementById("zoom-plots").clientWidth;
    plots = [connectionsPlot(one, width)];
    if (one.v.length) plots.push(speedPlot(one, width));
  }

  function buildZooming() {
    for (const figure of every("#connections figure")) {
      if (!figure.querySelector(".chart")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Zoom";
      button.setAttribute("aria-label", `Zoom ${cells.get(figure.dataset.c).label}`);
      button.addEventListener("click", () => zoom(figure.dataset.c));
      figure.querySelector("figcaption").append(button);
    }
    document.getElementById("zoom-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      plots.forEach((plot) => plot.destroy());
      plots = [];
    });
  }

  /* --- Beginning */

  function apply() {
    readAddress();
    applyFilters();
    applySorting();
    applyTabs();
    goTo(place);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    place = link.getAttribute("href").slice(1);
    if (location.hash === address()) goTo(place);
    else location.hash = address();
  });
  window.addEventListener("hashchange", apply);
  buildFilters();
  buildSorting();
  buildTabs();
  buildCopying();
  buildZooming();
  apply();
})();
