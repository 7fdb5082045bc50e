/* Copy buttons, popover placement, row filter, live figures. Every page reads complete without this file. */
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  function copying() {
    for (const button of all(".cn-copy")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const code = button.parentElement.querySelector("code");
        try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
        catch { getSelection().selectAllChildren(code); button.textContent = "Press Ctrl+C"; }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
    }
  }

  /* Beside the number that opened it: below where there is room, else above, else as low as it is seen whole. */
  function popovers() {
    let opener = null;
    document.addEventListener("click", (event) => { opener = event.target.closest("[popovertarget]") || opener; }, true);
    for (const pop of all("[popover].cn-pop")) {
      pop.addEventListener("toggle", (event) => {
        if (event.newState !== "open" || !opener) { pop.removeAttribute("style"); return; }
        const at = opener.getBoundingClientRect(), box = pop.getBoundingClientRect();
        const left = Math.max(12, Math.min(at.left, document.documentElement.clientWidth - box.width - 12));
        const below = at.bottom + 6, above = at.top - box.height - 6, last = innerHeight - box.height - 12;
        const top = below <= last ? below : above >= 12 ? above : Math.max(12, last);
        Object.assign(pop.style, { position: "absolute", inset: "auto", margin: 0, left: left + scrollX + "px", top: top + scrollY + "px" });
      });
    }
  }

  function filtering() {
    const form = document.querySelector(".cn-filter"), table = document.querySelector(".cn-rows");
    if (!form || !table) return;
    const rows = all("tbody tr", table), buttons = all("button[data-v]", form);
    const { paper, kind, text } = form.elements, count = form.querySelector("output");
    const apply = () => {
      const wanted = buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.v);
      const words = text.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        row.hidden = !((!wanted.length || wanted.includes(row.dataset.v)) && (!paper.value || row.dataset.paper === paper.value)
          && (!kind.value || row.dataset.kind === kind.value) && row.textContent.toLowerCase().includes(words));
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    const choose = (chapter, of, verdict) => {
      [paper.value, kind.value, text.value] = [chapter, of, ""];
      for (const b of buttons) b.setAttribute("aria-pressed", String(b.dataset.v === verdict));
      apply();
    };
    for (const b of buttons) b.addEventListener("click", () => { b.setAttribute("aria-pressed", String(b.getAttribute("aria-pressed") !== "true")); apply(); });
    for (const link of all("a[data-filter]")) link.addEventListener("click", () => choose(...link.dataset.filter.split(" ")));
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    apply();
  }

  /* Maps by choice. The script element holds {layers: [{levels: base64, two of 0 to 15 a byte, colours: [r, g, b] of each}] for the image and its map,
     tiles: [which image, which map, texts] for every combination of options, those of the last choice next to each other}. */
  function live() {
    for (const figure of all("[data-live=maps]")) {
      const { layers, tiles } = JSON.parse(figure.querySelector("script").textContent);
      const levels = layers.map((one) => [...atob(one.levels)].flatMap((c) => [c.charCodeAt(0) >> 4, c.charCodeAt(0) & 15]));
      const selects = all("select", figure), canvases = all("canvas", figure), places = all(".cn-scale span, output", figure);
      const draw = () => {
        const tile = tiles[selects.reduce((at, one) => at * one.length + one.selectedIndex, 0)];
        canvases.forEach((canvas, k) => {
          const context = canvas.getContext("2d"), picture = context.createImageData(canvas.width, canvas.height), n = canvas.width * canvas.height;
          for (let p = 0; p < n; p++) picture.data.set([...layers[k].colours[levels[k][tile[k] * n + p]], 255], 4 * p);
          context.putImageData(picture, 0, 0);
        });
        places.forEach((place, k) => { place.textContent = tile[2][k]; });
      };
      figure.addEventListener("input", draw);
      figure.querySelector(".cn-live").hidden = false;
      figure.querySelector(".cn-static").hidden = true;
      draw();
    }
  }

  /* Errata are read whole on paper. */
  function printing() {
    let opened = [];
    addEventListener("beforeprint", () => { opened = all(".cn-errata details:not([open])"); for (const one of opened) one.open = true; });
    addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
  }

  const start = () => { copying(); popovers(); filtering(); live(); printing(); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
