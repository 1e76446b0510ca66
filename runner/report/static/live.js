/* Follows a run that goes on: asks its server every second, and shows what it says as text. */
"use strict";
(() => {
  const show = (id, text) => (document.getElementById(id).textContent = text);

  function cells(event) {
    return [(event.at || "").slice(11, 19), event.event, event.cell || "", event.block ?? "", event.reason || ""];
  }

  function row(event) {
    const line = document.createElement("tr");
    cells(event).forEach((text, at) => {
      const cell = document.createElement("td");
      if (at !== 3) cell.className = at === 4 ? "wrap" : "t";
      cell.textContent = text;
      line.append(cell);
    });
    return line;
  }

  async function look() {
    try {
      const now = await (await fetch("/progress.json")).json();
      if (now.run) {
        const counts = Object.entries(now.counts).map(([kind, count]) => `${count} ${kind}`).join(", ");
        show("run", now.run);
        show("status", `${now.status}: ${now.done} of ${now.planned} attempts${counts ? ` (${counts})` : ""}`);
        show("under-way", now.under_way.length ? `Under way: ${now.under_way.join(", ")}` : "");
        const bar = document.getElementById("bar");
        bar.max = Math.max(now.planned, 1);
        bar.value = now.done;
        document.getElementById("events").replaceChildren(...now.events.map(row));
      } else {
        show("run", "No run yet");
      }
    } catch {
      show("status", "The server does not answer; trying again.");
    }
    setTimeout(look, 1000);
  }

  look();
})();
