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

  /* Live maps. The script element holds {shape, values: base64 of int8 [steps, h, w], stops: colours, texts: {name: a text a step}, spoken: a text a step}. */
  function live() {
    for (const figure of all("[data-live=maps]")) {
      const { shape: [h, w], values, stops, texts, spoken } = JSON.parse(figure.querySelector("script").textContent);
      const canvas = figure.querySelector("canvas"), slider = figure.querySelector("input"), context = canvas.getContext("2d");
      const steps = new Int8Array(Uint8Array.from(atob(values), (c) => c.charCodeAt(0)).buffer), image = context.createImageData(w, h);
      const colour = (v) => {
        const at = (v + 127) / 254 * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
        return stops[i].map((c, k) => c + (at - i) * (stops[i + 1][k] - c));
      };
      const draw = () => {
        const step = +slider.value;
        for (let p = 0; p < h * w; p++) image.data.set([...colour(steps[step * h * w + p]), 255], 4 * p);
        context.putImageData(image, 0, 0);
        for (const place of all("[data-text]", figure)) place.textContent = texts[place.dataset.text][step];
        slider.setAttribute("aria-valuetext", spoken[step]);
      };
      slider.addEventListener("input", draw);
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
